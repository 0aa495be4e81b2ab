"""A run's traces: all of them at once in SQL, one of them as a tree.

A rule over traces looks at every span of a run, which DuckDB does in columns (a million spans in a second or
two); only the traces that break a rule are ever read span by span. Their trees come from foreign telemetry:
parents are lost, ids repeat, clocks differ, and a span may even be its own ancestor. So a tree has every span
exactly once, whatever its parents say.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from slo import verdict
from slo.attempts import Attempt, Attempts
from slo.plan import Plan
from slo.segments import SegmentTable

if TYPE_CHECKING:
    from slo.store import Store

BEFORE_S = 0.5
"""So much before t0 a user's span may begin by its service's clock; the runner's questions end 1 s before."""
MOST_SPANS = 40
"""A tree of more spans than a screen has lines is cut; what broke the rule stays, with what is above it."""

_END_OF_TIME_S = 9e9


@dataclass(frozen=True, slots=True)
class Span:
    """One span of a trace; `at_s` is an offset from t0, `attributes` what is worth showing."""

    id: str
    parent: str
    name: str
    at_s: float
    duration_s: float
    outcome: str = ""
    failed: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Placed:
    """A span's place in its tree: `above` is the index of its parent's place, None for a root."""

    span: Span
    depth: int
    above: int | None
    orphan: bool
    """It names a parent that is not there, or its parents lead back to itself."""


def arrange(spans: Sequence[Span]) -> tuple[Placed, ...]:
    """The spans as a tree, each once, parents before children, siblings by their start.

    Of spans with one id the first is the parent of what names it. A span without its parent stands as a root,
    and a circle of parents is opened at its earliest span.
    """
    given = sorted(spans, key=lambda span: (span.at_s, -span.duration_s, span.id))
    first = {span.id: index for index, span in reversed(list(enumerate(given)))}
    parents = [_parent(index, span, first) for index, span in enumerate(given)]
    roots = {index for index, parent in enumerate(parents) if parent is None} | _openings(parents)
    below: list[list[int]] = [[] for _ in given]
    for index, parent in enumerate(parents):
        if index not in roots and parent is not None:
            below[parent].append(index)
    placed: list[Placed] = []
    for index, depth, above in _walk(sorted(roots), below):
        span = given[index]
        placed.append(Placed(span, depth, above, orphan=index in roots and bool(span.parent)))
    return tuple(placed)


def _parent(index: int, span: Span, first: Mapping[str, int]) -> int | None:
    parent = first.get(span.parent) if span.parent else None
    return None if parent == index else parent


def _openings(parents: Sequence[int | None]) -> set[int]:
    """The earliest span of each circle of parents."""
    found: set[int] = set()
    seen: set[int] = set()
    for start in range(len(parents)):
        way: dict[int, None] = {}
        at: int | None = start
        while at is not None and at not in seen and at not in way:
            way[at] = None
            at = parents[at]
        if at is not None and at in way:
            steps = list(way)
            found.add(min(steps[steps.index(at) :]))
        seen.update(way)
    return found


def _walk(roots: Sequence[int], below: Sequence[Sequence[int]]) -> Iterator[tuple[int, int, int | None]]:
    """Index, depth and the place of the parent, without recursion: a chain of spans may be long."""
    waiting: list[tuple[int, int, int | None]] = [(root, 0, None) for root in reversed(roots)]
    place = 0
    while waiting:
        index, depth, above = waiting.pop()
        yield index, depth, above
        waiting += [(child, depth + 1, place) for child in reversed(below[index])]
        place += 1


@dataclass(frozen=True, slots=True)
class Traces:
    """The traces of a run's users. `rows` asks all of them, `tree` shows one."""

    opened: Store
    table: SegmentTable
    plan: Plan
    attempts: Attempts
    t0_s: float

    @classmethod
    def of_users(
        cls, opened: Store, table: SegmentTable, plan: Plan, attempts: Attempts, t0_s: float
    ) -> Traces:
        """Those that began while there was load; what the runner asks before and afterwards proves nothing.

        The others go from the copy in memory, so this comes after everything else that is read from there.
        """
        if plan.t0_s is not None:
            until_s = _END_OF_TIME_S if plan.load_ended_s is None else t0_s + plan.load_ended_s
            opened.sql.execute(
                "DELETE FROM spans WHERE TraceId IN (SELECT TraceId FROM spans GROUP BY TraceId"
                " HAVING min(epoch_ns(Timestamp)) NOT BETWEEN ? AND ?)",
                [round((t0_s - BEFORE_S) * 1e9), round(until_s * 1e9)],
            )
        return cls(opened, table, plan, attempts, t0_s)

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """SQL over the tables of the bundle (docs/reference/bundle.md)."""
        return self.opened.sql.execute(query, list(parameters)).fetchall()

    def offset_s(self, at_ns: int) -> float:
        """A moment of a span on the run's clock."""
        return at_ns / 1e9 - self.t0_s

    def unended(self, trace_ids: Collection[str]) -> list[str]:
        """Those that have spans and no request span: their request never ended, or its span was lost."""
        request = self.table.segments.get("request")
        if request is None or not trace_ids:
            return []
        which = request.where()
        self.opened.register("asked", {"TraceId": list(trace_ids)})
        try:
            rows = self.rows(
                "SELECT TraceId FROM spans SEMI JOIN asked USING (TraceId) GROUP BY TraceId"
                f" HAVING NOT coalesce(bool_or({which.sql}), FALSE) ORDER BY min(Timestamp), TraceId",
                which.parameters,
            )
        finally:
            self.opened.sql.unregister("asked")
        return [str(trace) for (trace,) in rows]

    def untold(self, trace_ids: Collection[str]) -> int:
        """How many of them have no span at all: nothing of their request ended, or all of it was lost."""
        if not trace_ids:
            return 0
        self.opened.register("asked", {"TraceId": list(trace_ids)})
        try:
            rows = self.rows("SELECT count(*) FROM asked ANTI JOIN spans USING (TraceId)")
        finally:
            self.opened.sql.unregister("asked")
        return int(rows[0][0])

    def tree(self, trace_id: str, broke: Collection[str] = ()) -> verdict.Trace | None:
        """A trace as a verdict shows it; `broke` are the ids of the spans that broke the rule."""
        client = self._client(trace_id)
        placed = arrange([*client, *self._spans(trace_id, called_by={span.id for span in client})])
        if not placed:
            return None
        start_s = min(one.span.at_s for one in placed)
        shown = _most_telling(placed, broke)
        return verdict.Trace(
            id=trace_id,
            at_s=start_s,
            phase=next((p.name for p in self.plan.phases if p.start_s <= start_s < p.end_s), None),
            spans=tuple(_line(placed[place], start_s, broke) for place in shown),
            hidden=len(placed) - len(shown),
        )

    def _client(self, trace_id: str) -> list[Span]:
        """What the user saw stands above the request, whose parent it is."""
        return [_attempt_span(one) for one in self.attempts.all if one.trace_id == trace_id][:1]

    def _spans(self, trace_id: str, called_by: Collection[str]) -> list[Span]:
        """A server's parent is its caller's span, which only the client knows: without it there is none."""
        rows = self.rows(
            "SELECT SpanId, ParentSpanId, SpanKind = 'Server', SpanName, epoch_ns(Timestamp), Duration,"
            " StatusCode = 'Error', SpanAttributes FROM spans WHERE TraceId = ?",
            [trace_id],
        )
        return [
            Span(
                id=span_id,
                parent="" if serves and parent not in called_by else parent,
                name=name,
                at_s=self.offset_s(at_ns),
                duration_s=duration_ns / 1e9,
                outcome=self._outcome(attributes, bool(failed)),
                failed=bool(failed),
                attributes={key: attributes[key] for key in self.table.tree.attributes if key in attributes},
            )
            for span_id, parent, serves, name, at_ns, duration_ns, failed, attributes in rows
        ]

    def _outcome(self, attributes: Mapping[str, str], failed: bool) -> str:
        said = [attributes[key] for key in self.table.tree.outcome if attributes.get(key)]
        return ", ".join(dict.fromkeys(said)) or ("error" if failed else "ok")


def _attempt_span(one: Attempt) -> Span:
    lag_s = one.lag_s or 0.0
    events = one.terminal_events
    return Span(
        id=one.span_id or "",
        parent="",
        name=f"journey {one.journey}",
        at_s=one.at_s + lag_s,
        duration_s=math.inf if one.latency_s is None else max(0.0, one.latency_s - lag_s),
        outcome=one.outcome,
        failed=not one.answered,
        attributes={} if events in (None, 1) else {"terminal_events": str(events)},
    )


def _most_telling(placed: Sequence[Placed], broke: Collection[str]) -> list[int]:
    """The places to show, in order: what broke the rule and all above it, then from the top."""
    kept: set[int] = set()
    for place, one in enumerate(placed):
        at: int | None = place if one.span.id in broke else None
        while at is not None and at not in kept and len(kept) < MOST_SPANS:
            kept.add(at)
            at = placed[at].above
    rest = (place for place in range(len(placed)) if place not in kept)
    for place, _ in zip(rest, range(MOST_SPANS - len(kept)), strict=False):
        kept.add(place)
    return sorted(kept)


def _line(one: Placed, start_s: float, broke: Collection[str]) -> verdict.TraceSpan:
    span = one.span
    return verdict.TraceSpan(
        depth=one.depth,
        name=span.name,
        at_s=span.at_s - start_s,
        duration_s=span.duration_s if math.isfinite(span.duration_s) else None,
        outcome=span.outcome,
        failed=span.failed,
        attributes=dict(span.attributes),
        broke=span.id in broke,
        orphan=one.orphan,
    )
