"""The general rule: how many traces of a phase have such a span, with or without such another.

A trace belongs to the phase in which its first span starts. A count that must stay small is met by an empty
run and by a misspelt selector alike. So a pass also needs that what the selectors name was seen: traces in
the phase, spans of that kind somewhere in the run, and a trace in which `select` took a span, where `with`
or `without` ask for more. Values of attributes are yours to check: one that never occurs is never there.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, WithJsonSchema

from slo import verdict
from slo.assertions.assertion import MOST_EXAMPLES, Assertion, register
from slo.documents import did_you_mean
from slo.evidence import Evidence
from slo.segments import Where
from slo.segments.selection import Patterns, SpanSelector

_OPERATORS: dict[str, Callable[[int, int], bool]] = {
    "=": operator.eq,
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
}
_COUNT = re.compile(r"\s*(<=|>=|=|<|>)\s*(\d{1,9})\s*")
_COUNT_SCHEMA = {"type": "string", "pattern": f"^{_COUNT.pattern}$"}
_NOTHING = Where("FALSE", ())


def _is_count(text: object) -> str:
    found = _COUNT.fullmatch(text) if isinstance(text, str) else None
    if not isinstance(text, str) or found is None:
        raise ValueError(
            f"{text!r} is not a count; write =, <, <=, > or >= and a number, such as = 0 or >= 1"
        )
    if found[1] == ">=" and int(found[2]) == 0:
        raise ValueError(f"{text!r} holds whatever happens; write >= 1, or another count")
    return text.strip()


@register
class Traces(Assertion):
    """So many traces of the phase have a span that `select` takes, and one `with`, and none `without`."""

    name: ClassVar[str] = "traces"
    example: ClassVar[str] = (
        '{select: {segment: generate, status: error}, without: {segment: context}, count: "= 0", in: fault}'
    )
    label: str | None = Field(
        None, alias="name", pattern=r"^[a-z0-9][a-z0-9_.-]{0,59}$", description="what reports call it"
    )
    select: SpanSelector = Field(description="a span that the trace has")
    with_: SpanSelector | None = Field(None, alias="with", description="another span that it has as well")
    without: SpanSelector | None = Field(None, description="a span that it has not")
    count: Annotated[str, BeforeValidator(_is_count), WithJsonSchema(_COUNT_SCHEMA)] = Field(
        description="how many traces: `=`, `<`, `<=`, `>` or `>=` and a number"
    )
    in_: Patterns = Field(
        (), alias="in", description="the phases in which the traces begin; without it, all of the run"
    )

    @property
    def called(self) -> str:
        """Several of these stand in one experiment, so each may have a name of its own."""
        return self.label or self.name

    def check(self, evidence: Evidence) -> verdict.Assertion:
        """One pass over all spans; a trace belongs to the phase in which its first span starts."""
        phases = [evidence.plan.phase(name) for name in self.in_]
        absent = [name for name, phase in zip(self.in_, phases, strict=True) if phase is None]
        if absent:
            return self.result("inconclusive", f"the run has no phase {absent[0]!r}")
        windows = [(phase.start_s, phase.end_s) for phase in phases if phase] or [(-math.inf, math.inf)]
        grouped = self._grouped(evidence, windows)
        total, selected, counted = evidence.traces.rows(
            f"SELECT count(*), count(*) FILTER (selected), count(*) FILTER (counted) FROM ({grouped.sql})",
            grouped.parameters,
        )[0]
        facts = {"traces": total, "selected": selected, "counted": counted}
        if not total:
            return self.result("inconclusive", "no trace began there: nothing was tested", facts)
        where = f" in {' and '.join(self.in_)}" if self.in_ else ""
        have = "has" if counted == 1 else "have"
        message = f"of {total} traces{where} {counted} {have} {self._described()}; wanted is {self.count}"
        if not self._meets(counted):
            traces, spans = self._examples(evidence, grouped, counted)
            return self.broken(evidence, message, facts, traces, spans)
        empty = self._why_empty(evidence, selected)
        if empty:
            return self.result("inconclusive", f"{message}, but {empty}", facts)
        return self.result("pass", message, facts)

    def _meets(self, counted: int) -> bool:
        found = _COUNT.fullmatch(self.count)
        return found is not None and _OPERATORS[found[1]](counted, int(found[2]))

    def _grouped(self, evidence: Evidence, windows: list[tuple[float, float]]) -> Where:
        """One row for each trace of the phases: `selected`, and whether it is `counted`."""
        table = evidence.table
        select = self.select.spans(table)
        also, never = (one.spans(table) if one else _NOTHING for one in (self.with_, self.without))
        inside = " OR ".join("at_s >= ? AND at_s < ?" for _ in windows)
        sql = f"""
            SELECT TraceId, at_s, selected,
                   selected AND {"also" if self.with_ else "TRUE"} AND NOT never AS counted
            FROM (
                SELECT TraceId, min(epoch_ns(Timestamp)) / 1e9 - ? AS at_s, bool_or({select.sql}) AS selected,
                       bool_or({also.sql}) AS also, bool_or({never.sql}) AS never
                FROM spans GROUP BY TraceId
            ) WHERE {inside}
        """
        bounds = [bound for window in windows for bound in window]
        parameters = (evidence.traces.t0_s, *select.parameters, *also.parameters, *never.parameters, *bounds)
        return Where(sql, parameters)

    def _examples(self, evidence: Evidence, grouped: Where, counted: int) -> tuple[list[str], set[str]]:
        """Traces that should not have counted; where too few did, those that did not, the nearest first."""
        found = _COUNT.fullmatch(self.count)
        too_many = found is not None and (counted > int(found[2]) or found[1] == "<")
        rows = evidence.traces.rows(
            f"SELECT TraceId FROM ({grouped.sql}) WHERE counted = ?"
            " ORDER BY selected DESC, at_s, TraceId LIMIT ?",
            [*grouped.parameters, too_many, MOST_EXAMPLES],
        )
        traces = [str(trace) for (trace,) in rows]
        if not traces:
            return [], set()
        select = self.select.spans(evidence.table)
        spans = evidence.traces.rows(
            f"SELECT SpanId FROM spans WHERE TraceId = ? AND {select.sql}", [traces[0], *select.parameters]
        )
        return traces, {str(span) for (span,) in spans}

    def _why_empty(self, evidence: Evidence, selected: int) -> str:
        """Why meeting the count says nothing; empty where it says something."""
        for one in (self.select, self.with_, self.without):
            if one is not None and (unseen := _unseen(one, evidence)):
                return unseen
        if (self.with_ or self.without) and not selected:
            return f"none of them has a {self.select}: nothing was tested"
        return ""

    def _described(self) -> str:
        text = f"a {self.select}"
        text += f" and a {self.with_}" if self.with_ else ""
        return text + (f" and no {self.without}" if self.without else "")


def _unseen(selector: SpanSelector, evidence: Evidence) -> str:
    """That nothing in the whole run shows that such spans would be seen; empty where something does."""
    kin = selector.kin(evidence.table)
    which = kin.spans(evidence.table)
    seen = evidence.traces.rows(f"SELECT count(*) FROM spans WHERE {which.sql}", which.parameters)[0][0]
    if seen:
        return ""
    hints = [did_you_mean(key, evidence.table.attributes) for key in kin.attributes]
    hint = next((hint for hint in hints if hint), "")
    return f"no span of the whole run is a {kin}{hint}: a slip in the selector would look the same"
