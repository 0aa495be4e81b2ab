"""The verdict in a terminal, for whoever was woken up by it.

The word and the one reason that matters come first, then only the tables that are needed to act, then
commands to go on with; the last line repeats the verdict, because that is what a scrolled terminal shows. It
fits 100 columns. Colour comes and goes with the console; nothing is said by colour alone. Text from a bundle
is never markup.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from slo.report import trees, wording
from slo.verdict import Objective, SegmentPhase, Trace, Verdict, Verdicts

WIDTH = 100
MOST_TOLD = 8
"""Objectives that did not hold, one by one; failed ones first."""
_STYLES: dict[Verdicts, str] = {
    "pass": "green",
    "warn": "yellow",
    "fail": "red",
    "inconclusive": "magenta",
    "error": "bright_magenta",
}


def render(
    verdict: Verdict, console: Console, bundle: Path | None = None, exit_code: int | None = None
) -> None:
    """Print the verdict; `bundle` is named in what to do next (default: `runs/latest`).

    `exit_code` is that of the command, where it is another one than the verdict's: a person stopped the run.
    """
    shown = wording.legible(verdict)
    width = min(console.width, WIDTH)

    def say(content: object = "", indent: int = 0) -> None:
        console.print(Padding(content, (0, 0, 0, indent), expand=False) if indent else content, width=width)  # type: ignore[arg-type]

    say(_line(shown))
    for sentence in shown.sentences[1:]:
        say(Text(f"· {sentence}"), 2)
    for title, content in (
        ("What the run did not prove", _gates(shown)),
        ("Faults", _faults(shown)),
        ("Objectives", _objectives(shown)),
        ("Assertions", _assertions(shown)),
        ("p95 of each segment", _segments(shown)),
    ):
        if content:
            say()
            say(Text(title, style="bold"))
            for part in content:
                say(part, 2)
    say()
    for label, what in _next_steps(shown, bundle or Path("runs/latest")):
        # In one piece, however narrow the terminal is: it is there to be copied.
        console.print(Text.assemble((f"{label:<14}", "dim"), wording.clean(what)), soft_wrap=True)
    say()
    code = shown.exit_code if exit_code is None else exit_code
    say(Text.assemble(_badge(shown), f"  {shown.run.experiment or 'run'}", (f"  exit {code}", "dim")))


def _next_steps(verdict: Verdict, bundle: Path) -> list[tuple[str, str]]:
    """Commands to go on with, quoted for a shell, and the first trace to look at."""
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    steps = [
        ("report", f"{opener} {shlex.quote(str(bundle / 'report.html'))}"),
        ("judge again", f"ragquake evaluate {shlex.quote(str(bundle))}"),
    ]
    if verdict.verdict == "error":
        steps += [("logs", str(bundle / "logs")), ("this machine", "ragquake doctor")]
    elif trace := _first_exemplar(verdict):
        steps.append(("look at", trace))
    return steps


def _line(verdict: Verdict) -> Text:
    name = verdict.run.experiment or "run"
    return Text.assemble(_badge(verdict), "  ", (f"{name}: ", "dim"), (_reason(verdict), "bold"))


def _badge(verdict: Verdict) -> tuple[str, str]:
    judgement = wording.JUDGEMENTS[verdict.verdict]
    return f" {judgement.mark} {judgement.word.upper()} ", f"bold reverse {_STYLES[verdict.verdict]}"


def _reason(verdict: Verdict) -> str:
    """The headline without the word that the badge has."""
    headline = wording.headline(verdict)
    for word in ("Passed: ", "Failed: ", "Inconclusive: ", "Passed with a warning: "):
        headline = headline.removeprefix(word)
    return headline


def _mark(verdict: Verdicts) -> Text:
    return Text(wording.JUDGEMENTS[verdict].mark, style=_STYLES[verdict])


def _gates(verdict: Verdict) -> list[Table]:
    rows = [(gate.verdict, gate.name, gate.message) for gate in verdict.gates if gate.verdict != "pass"]
    return [_list(rows)] if rows else []


def _faults(verdict: Verdict) -> list[Table]:
    rows = [
        (one.bite.verdict, one.name, f"{wording.declared(one)}: {one.bite.message}") for one in verdict.faults
    ]
    return [_list(rows)] if rows else []


def _assertions(verdict: Verdict) -> list[Table | Text]:
    rows = [(one.verdict, one.name, one.message) for one in verdict.assertions]
    found: list[Table | Text] = [_list(rows)] if rows else []
    for one in verdict.assertions:
        if one.trace:
            found += [Text(" "), Text.assemble((one.name, "bold"), " is broken by")]
            found += [Text(trees.title(one.trace)), _tree(one.trace)]
            found += [Text(trees.rest(one.trace), style="dim")] if one.trace.hidden else []
            others = [trace for trace in one.exemplars if trace != one.trace.id]
            found += [Text(f"and by {' '.join(others)}", style="dim")] if others else []
    return found


def _tree(trace: Trace) -> Table:
    """One counter-example, span by span; what does not fit is in the name or the end, never in a number."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("", width=1)
    for head in trees.HEADS[:2]:
        table.add_column(head, justify="right", min_width=8)
    table.add_column(trees.HEADS[2], max_width=trees.NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    table.add_column(trees.HEADS[3], ratio=1)
    for line in trees.lines(trace):
        style = "bold red" if line.broke else "red" if line.failed else ""
        name = Text.assemble((line.branch, "dim"), (line.name, style))
        ended = Text.assemble((line.ended, style), "  ", (line.details, "dim"))
        table.add_row(Text(line.mark.strip(), style=style), line.offset, line.took, name, ended)
    return table


def _objectives(verdict: Verdict) -> list[Table | Text]:
    if not verdict.objectives:
        return []
    phases = _phases(verdict, {one.phase for one in verdict.objectives})
    table = _grid("objective", phases)
    cells = {(one.name, one.phase): one for one in verdict.objectives}
    for name in dict.fromkeys(one.name for one in verdict.objectives):
        row = [Text(name)]
        for phase in phases:
            one = cells.get((name, phase))
            seen = wording.value(one.value, one.unit) if one else wording.NOTHING
            row.append(Text.assemble(_mark(one.verdict), " ", seen) if one else Text(seen, style="dim"))
        table.add_row(*row)
    missed = [one for one in verdict.objectives if one.verdict != "pass"]
    missed.sort(key=lambda one: (one.verdict != "fail", wording.SEVERITY[one.verdict]))
    if not missed:
        return [table]
    rows = [(one.verdict, f"{one.name} in {one.phase}", _told(one)) for one in missed[:MOST_TOLD]]
    rest = f"and {len(missed) - MOST_TOLD} more, all in the report" if len(missed) > MOST_TOLD else ""
    return [table, Text(" "), _list(rows), *([Text(rest, style="dim")] if rest else [])]


def _told(one: Objective) -> str:
    """What was seen and wanted, once: an evaluator's message has both."""
    if one.target in one.message:
        return one.message
    return f"{wording.seen(one)}, wanted {one.target}. {one.message}"


def _segments(verdict: Verdict) -> list[Table]:
    if not verdict.segments:
        return []
    phases = _phases(verdict, {phase for cells in verdict.segments.values() for phase in cells})
    table = _grid("segment", phases)
    for segment in wording.ordered(verdict.segments, wording.SEGMENTS):
        cells = verdict.segments[segment]
        table.add_row(Text(segment), *(_cell(cells.get(phase)) for phase in phases))
    return [table]


def _cell(cell: SegmentPhase | None) -> Text:
    if cell is None or not cell.count:
        return Text(wording.NOTHING, style="dim")
    shown = Text(wording.duration(cell.p95_s))
    if cell.errors:
        shown.append(f"\n{wording.error_ratio(cell)} failed", style="red")
    return shown


def _phases(verdict: Verdict, present: set[str]) -> list[str]:
    return wording.ordered(present, tuple(phase.name for phase in verdict.phases))


def _grid(first: str, columns: list[str]) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim", pad_edge=False)
    table.add_column(Text(first))
    for name in columns:
        table.add_column(Text(name), justify="right")
    return table


def _list(rows: Sequence[tuple[Verdicts, str, str]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, pad_edge=False)
    table.add_column(width=1)
    table.add_column(max_width=32)
    table.add_column(ratio=1)
    for verdict, name, message in rows:
        table.add_row(_mark(verdict), Text(name), Text(message))
    return table


def _first_exemplar(verdict: Verdict) -> str | None:
    found = [trace for objective in verdict.objectives for trace in objective.exemplars]
    found += [trace for assertion in verdict.assertions for trace in assertion.exemplars]
    return f"trace {found[0]}" if found else None
