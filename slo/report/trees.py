"""A trace as a tree of lines, the same in the terminal, in Markdown and in JUnit.

Every line says when a span began (from the trace's beginning), how long it took, what it is, how it ended and
what else is worth a look; `►` marks what broke the rule.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from slo.report import wording
from slo.units import format_duration
from slo.verdict import Trace, TraceSpan

MOST_LEVELS = 12
"""Deeper spans are not moved further to the right: they would leave the page."""
NAME_WIDTH = 44
HEADS = ("offset", "took", "span", "ended")


@dataclass(frozen=True, slots=True)
class Line:
    """One span, in words; `branch` draws where it hangs."""

    offset: str
    took: str
    branch: str
    name: str
    ended: str
    details: str
    broke: bool
    failed: bool
    from_percent: float
    wide_percent: float
    """Where its bar begins and how wide it is, of the whole trace."""

    @property
    def mark(self) -> str:
        """What broke the rule stands out without colour."""
        return "►" if self.broke else " "


def lines(trace: Trace) -> list[Line]:
    """The lines of a tree."""
    whole_s = span_s(trace) or 1.0
    return [
        Line(
            offset=_signed(span.at_s),
            took=wording.duration(span.duration_s),
            branch=branch,
            name=span.name,
            ended=span.outcome,
            details=details(span),
            broke=span.broke,
            failed=span.failed,
            from_percent=round(100 * span.at_s / whole_s, 2),
            wide_percent=round(100 * (span.duration_s or 0.0) / whole_s, 2),
        )
        for span, branch in zip(trace.spans, _branches(trace.spans), strict=True)
    ]


def span_s(trace: Trace) -> float:
    """From the beginning of a trace to the end of its last span."""
    return max((span.at_s + (span.duration_s or 0.0) for span in trace.spans), default=0.0)


def title(trace: Trace) -> str:
    """`trace 0af7…, begun 39.5 s into the run, in fault`."""
    within = f", in {trace.phase}" if trace.phase else ""
    return f"trace {trace.id}, begun {wording.at(trace.at_s)} into the run{within}"


def rest(trace: Trace) -> str:
    """What is left out; empty where everything is shown."""
    return f"and {trace.hidden} more spans" if trace.hidden else ""


def details(span: TraceSpan) -> str:
    """Attributes by the last part of their names, which is what tells them apart in a line."""
    found = [f"{_short(key)} {_listed(value)}" for key, value in span.attributes.items() if value]
    return ", ".join([*found, *(["its parent is missing"] if span.orphan else [])])


def text(trace: Trace) -> list[str]:
    """The tree as plain text of a fixed width."""
    rows = lines(trace)
    names = [f"{row.branch}{row.name}" for row in rows]
    name_width = min(NAME_WIDTH, max(map(len, [*names, HEADS[2]])))
    ended_width = max(len(word) for word in [*(row.ended for row in rows), HEADS[3]])
    found = [title(trace), f"  {HEADS[0]:>8} {HEADS[1]:>8}  {HEADS[2]:<{name_width}}  {HEADS[3]}"]
    for row, name in zip(rows, names, strict=True):
        line = f"{row.mark} {row.offset:>8} {row.took:>8}  {name:<{name_width}}  {row.ended:<{ended_width}}"
        found.append(f"{line}  {row.details}".rstrip())
    return [*found, *([f"  {rest(trace)}"] if trace.hidden else [])]


def _short(key: str) -> str:
    """`circuit breaker state` would say no more in a line of its own span than `state`."""
    return key.rpartition(".")[2].replace("_", " ")


def _listed(value: str) -> str:
    """A list, which spans carry as JSON text, as words."""
    try:
        items = json.loads(value) if value.startswith("[") else value
    except ValueError:
        return value
    return wording.plain(items)


def _signed(offset_s: float) -> str:
    return format_duration(offset_s) if offset_s else "0 ms"


def _branches(spans: Sequence[TraceSpan]) -> list[str]:
    """`│  ├─ ` before each name: whether more follows on each of the levels above."""
    found: list[str] = []
    follows: set[int] = set()
    for span in reversed(spans):
        depth = min(span.depth, MOST_LEVELS)
        follows = {level for level in follows if level <= depth}
        above = "".join("│  " if level in follows else "   " for level in range(1, depth))
        found.append(above + (("├─ " if depth in follows else "└─ ") if depth else ""))
        follows.add(depth)
    return found[::-1]
