"""Where it breaks: the bracket [last good, first bad] of a fault's size, and the objective that broke first.

A staircase finds the bracket in one run, further runs halve it. A point would be a false promise: between
two sizes that were tried nothing is known, so the answer is the two sizes (reference: design, section 1).
A step that could not be judged ends the search as inconclusive instead of widening the bracket silently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from chaos.exit_codes import ExitCode
from chaos.experiment import LoadedExperiment, find_experiment, load_experiment
from chaos.run.options import RunOptions
from chaos.run.progress import Progress
from chaos.run.runner import RunResult, run_experiment
from chaos.search.staircase import Knob, derive_staircase, find_knob, parse_sizes, step_name
from slo.history import FILE, History, fingerprint
from slo.history import BreakingPoint as Record
from slo.units import format_duration
from slo.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Search:
    """What a person asked for."""

    experiment: str
    over: str
    lowest: str
    highest: str
    steps: int = 6
    hold: str = "25s"
    refine: int = 1
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One size that was tried."""

    size_s: float
    verdict: str
    broke: str | None
    bundle: str


@dataclass(frozen=True, slots=True)
class BreakingPoint:
    """What was found. `first_bad_s` is None when nothing broke, `last_good_s` when everything did."""

    experiment: str
    over: str
    last_good_s: float | None
    first_bad_s: float | None
    broke_first: str | None
    steps: tuple[Step, ...]
    conclusive: bool
    exit_code: int = ExitCode.PASSED
    overrides: tuple[str, ...] = ()
    message: str = ""
    """Why the search ended before its time, where it did."""

    def sentence(self) -> str:
        """The answer, for a person."""
        tried = ", ".join(f"{format_duration(step.size_s)} {step.verdict}" for step in self.steps)
        if not self.conclusive:
            return f"inconclusive: {self.over} could not be bracketed; tried {tried or 'nothing'}"
        if self.first_bad_s is None:
            top = format_duration(self.last_good_s or 0.0)
            return f"nothing broke up to {self.over} = {top}, or it lies beyond; tried {tried}"
        bad = format_duration(self.first_bad_s)
        good = "below the lowest" if self.last_good_s is None else format_duration(self.last_good_s)
        return (
            f"breaking point of {self.over}: last good {good}, first bad {bad} ({self.broke_first}); "
            f"tried {tried}"
        )

    def as_record(self) -> dict[str, Any]:
        """The same for machines."""
        return asdict(self)


def search_breaking_point(search: Search, options: RunOptions, progress: Progress) -> BreakingPoint:
    """Run the staircase, halve the bracket, record the result in the history beside the runs."""
    loaded = load_experiment(find_experiment(search.experiment), search.overrides)
    knob = find_knob(loaded, search.over)
    sizes_s = parse_sizes(search.lowest, search.highest, search.steps)
    steps, result = _climb(loaded, knob, sizes_s, search, options, progress)
    found = bracket(search, steps)
    for _ in range(search.refine):
        if not found.conclusive or found.first_bad_s is None or found.last_good_s is None:
            break
        middle_s = (found.last_good_s + found.first_bad_s) / 2
        progress.step(f"halving the bracket: {knob} = {format_duration(middle_s)}")
        more, result = _climb(loaded, knob, [middle_s], search, options, progress)
        if any(step.verdict not in ("pass", "warn", "fail") for step in more):
            break  # the bracket found so far still stands
        steps = sorted([*steps, *more], key=lambda step: step.size_s)
        found = bracket(search, steps)
    if result.exit_code in (ExitCode.ENVIRONMENT, ExitCode.INTERRUPTED):
        return replace(found, exit_code=result.exit_code, message=f"{result.status}: {result.message}")
    if found.conclusive:
        History(options.runs / FILE).record_breaking_point(
            Record(
                found_at_s=result.verdict.run.started_at_s or 0.0,
                experiment=search.experiment,
                parameter=search.over,
                last_good=found.last_good_s,
                first_bad=found.first_bad_s,
                unit="s",
                broke_first=found.broke_first,
                fingerprint=fingerprint(result.verdict),
                runs=tuple(dict.fromkeys(step.bundle for step in steps)),
            )
        )
    return found


def bracket(search: Search, steps: Sequence[Step]) -> BreakingPoint:
    """The bracket that the steps, smallest first, show: everything up to the first bad step must be good."""
    last_good_s = first_bad_s = broke = None
    conclusive = bool(steps)
    for step in steps:
        if step.verdict == "fail":
            first_bad_s, broke = step.size_s, step.broke
            break
        if step.verdict not in ("pass", "warn"):
            conclusive = False
            break
        last_good_s = step.size_s
    return BreakingPoint(
        experiment=search.experiment,
        over=search.over,
        last_good_s=last_good_s,
        first_bad_s=first_bad_s,
        broke_first=broke,
        steps=tuple(steps),
        conclusive=conclusive,
        exit_code=ExitCode.PASSED if conclusive else ExitCode.INCONCLUSIVE,
        overrides=search.overrides,
    )


def judge_step(verdict: Verdict, phase: str) -> tuple[str, str | None]:
    """A step's verdict, from the objectives of its phase, and the objective that broke."""
    if any(
        gate.name in ("load", "evidence") and gate.verdict not in ("pass", "warn") for gate in verdict.gates
    ):
        return "inconclusive", None
    judged = [objective for objective in verdict.objectives if objective.phase == phase]
    broke = next((objective.name for objective in judged if objective.verdict == "fail"), None)
    if broke:
        return "fail", broke
    if not judged or any(objective.verdict not in ("pass", "warn") for objective in judged):
        return "inconclusive", None
    return ("warn" if any(objective.verdict == "warn" for objective in judged) else "pass"), None


def _climb(
    loaded: LoadedExperiment,
    knob: Knob,
    sizes_s: Sequence[float],
    search: Search,
    options: RunOptions,
    progress: Progress,
) -> tuple[list[Step], RunResult]:
    folder = Path(options.state) / "breaking-point"
    result = run_experiment(derive_staircase(loaded, knob, sizes_s, search.hold, folder), options, progress)
    steps = []
    for number, size_s in enumerate(sizes_s, start=1):
        verdict, broke = judge_step(result.verdict, step_name(number))
        steps.append(Step(size_s, verdict, broke, result.bundle.name))
    return steps, result
