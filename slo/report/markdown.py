"""`summary.md`: the verdict as a comment on a pull request.

Whoever reviews the change reads the first line, perhaps the second, and opens the report for the rest. Text
from the bundle is escaped so that it shows as it is: it starts no heading, breaks out of no table, and
mentions nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Set

from slo.report import trees, wording
from slo.verdict import Assertion, SegmentPhase, Verdict, Verdicts

FILE = "summary.md"
MARKS: dict[Verdicts, str] = {"pass": "✅", "warn": "⚠️", "fail": "❌", "inconclusive": "❔", "error": "🛑"}
_SPECIAL = re.compile(r"([\\`*_\[\]|~#])")
_STARTS_A_BLOCK = re.compile(r"^(\d*)([-+=>]|[.)](?=\s|$))")
_WORD_JOINER = "\u2060"
"""Invisible; keeps `@name` from notifying anybody and an address from becoming a link."""


def render(verdict: Verdict, report: str = "report.html") -> str:
    """The summary as Markdown; `report` is the file name that it points to."""
    shown = wording.legible(verdict)
    word = wording.JUDGEMENTS[shown.verdict].word
    name = escape(shown.run.experiment or "run")
    blocks = [f"## {MARKS[shown.verdict]} {word}: {name}", f"**{escape(wording.headline(shown))}**"]
    if len(shown.sentences) > 1:
        blocks.append("\n".join(f"- {escape(sentence)}" for sentence in shown.sentences[1:]))
    troubles = [
        f"- {MARKS[gate.verdict]} {gate.name}: {escape(gate.message)}"
        for gate in shown.gates
        if gate.verdict != "pass"
    ]
    if troubles:
        blocks += ["### Evidence that is missing", "\n".join(troubles)]
    if shown.faults:
        rows = [
            [
                f"{MARKS[one.bite.verdict]} {wording.bitten(one)}",
                escape(one.name),
                escape(wording.declared(one)),
                escape(one.bite.message),
            ]
            for one in shown.faults
        ]
        blocks += ["### Faults", table(["", "Fault", "What it was", "Seen"], rows)]
    if shown.objectives:
        blocks += ["### Objectives", _objectives(shown)]
    if shown.assertions:
        rows = [
            [f"{MARKS[one.verdict]} {one.verdict}", escape(one.name), escape(one.message)]
            for one in shown.assertions
        ]
        blocks += ["### Assertions", table(["", "Assertion", "Seen"], rows)]
        blocks += [_tree(one) for one in shown.assertions if one.trace]
    if shown.segments:
        blocks += ["### Segments", "p95 of each segment and, where spans failed, how many.", _segments(shown)]
    blocks.append(f"Everything else, with the timeline, is in `{report}`.")
    return "\n\n".join(blocks) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is written, in a line, a list or a table's cell."""
    text = _SPECIAL.sub(r"\\\1", " ".join(text.split()))
    text = _STARTS_A_BLOCK.sub(r"\1\\\2", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return text.replace("@", f"@{_WORD_JOINER}").replace("://", f":{_WORD_JOINER}//")


def _tree(one: Assertion) -> str:
    """The first counter-example, where nothing is Markdown, and the ids of the others."""
    assert one.trace
    body = "\n".join(trees.text(one.trace)).replace("`", "'")
    others = f"\n\nAlso: {', '.join(map(escape, one.exemplars[1:]))}" if len(one.exemplars) > 1 else ""
    return f"`{one.name.replace('`', '')}` is broken by\n\n```text\n{body}\n```{others}"


def _objectives(verdict: Verdict) -> str:
    rows = [
        [
            f"{MARKS[one.verdict]} {one.verdict}",
            escape(one.name),
            escape(one.phase),
            escape(wording.value(one.value, one.unit)),
            escape(wording.interval(one.interval, one.unit)),
            escape(one.target),
            str(one.samples),
        ]
        for one in sorted(verdict.objectives, key=lambda one: wording.SEVERITY[one.verdict])
    ]
    heads = ["", "Objective", "Phase", "Value", "95 % interval", "Target", "Samples"]
    return table(heads, rows, right={3, 5, 6})


def _segments(verdict: Verdict) -> str:
    names = tuple(phase.name for phase in verdict.phases)
    phases = wording.ordered({name for cells in verdict.segments.values() for name in cells}, names)
    rows = [
        [escape(segment), *(_cell(verdict.segments[segment].get(phase)) for phase in phases)]
        for segment in wording.ordered(verdict.segments, wording.SEGMENTS)
    ]
    return table(["Segment", *map(escape, phases)], rows, right=set(range(1, len(phases) + 1)))


def _cell(cell: SegmentPhase | None) -> str:
    if cell is None or not cell.count:
        return wording.NOTHING
    failed = f" ({wording.error_ratio(cell)} failed)" if cell.errors else ""
    return escape(wording.duration(cell.p95_s) + failed)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], right: Set[int] = frozenset()) -> str:
    """A table; cells are Markdown already, the columns in `right` are aligned there."""
    rules = ["--:" if place in right else "---" for place in range(len(heads))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [heads, rules, *rows])
