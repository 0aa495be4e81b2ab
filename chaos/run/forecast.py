"""What a run would do: its phases, its load, and what each fault would touch (`ragquake run --dry-run`).

The set-up's length comes from earlier runs of this machine where there are any. Without, it is a guess from a
machine of two cores: 12 to 17 s in all for the local stack with a warm disk, 39 s with a cold one.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chaos.experiment import LoadedExperiment, PlannedPhase
from chaos.experiment.needs import used_faults
from chaos.faults import Fault
from chaos.run.journal import read
from chaos.run.surroundings import PlannedPart, Surroundings

GUESSED_S: Mapping[str, float] = {"local": 20.0, "compose": 90.0}
_LOOKED_AT = 10


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the run's clock, in seconds from its zero."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class ForecastPhase:
    """A phase; `arrivals` is what its rate comes to on average."""

    name: str
    start_s: float
    end_s: float
    rate_per_s: float
    multiple: float
    rate: str
    arrivals: float
    faults: tuple[str, ...]
    judged: bool


@dataclass(frozen=True, slots=True)
class Touched:
    """One fault: what it is, when it is in, what it touches, and how it is undone."""

    fault: str
    kind: str
    on: str
    parameters: Mapping[str, Any]
    spans: tuple[Span, ...]
    acts_on: str
    touches: tuple[str, ...]
    undone: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """A run that has not begun."""

    experiment: str
    title: str
    hypothesis: str
    owner: str
    stack: str
    load_s: float
    around_s: float
    """Set-up before the load and all that comes after it."""
    around_is_measured: bool
    arrivals: float
    journeys: Mapping[str, float]
    seed: int
    overrides: tuple[str, ...]
    phases: tuple[ForecastPhase, ...]
    faults: tuple[Touched, ...]
    unused_faults: tuple[str, ...]
    stop_conditions: tuple[str, ...]
    parts: tuple[PlannedPart, ...]
    remarks: tuple[str, ...]

    def as_record(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def forecast(loaded: LoadedExperiment, around: Surroundings, runs: Path) -> Forecast:
    """What a run of this experiment would do there."""
    experiment, used = loaded.experiment, used_faults(loaded)
    baseline = experiment.load.baseline_rate
    phases = tuple(
        ForecastPhase(
            name=phase.name,
            start_s=phase.start_s,
            end_s=phase.end_s,
            rate_per_s=phase.rate_per_s,
            multiple=phase.rate_per_s / baseline,
            rate=phase.rate_told,
            arrivals=phase.rate_per_s * (phase.end_s - phase.start_s),
            faults=phase.faults,
            judged=phase.judged,
        )
        for phase in loaded.phases
    )
    measured_s = around_s_of_earlier_runs(runs, around.kind)
    total_weight = sum(experiment.load.journeys.values())
    return Forecast(
        experiment=experiment.name,
        title=experiment.title,
        hypothesis=experiment.hypothesis,
        owner=experiment.owner,
        stack=around.kind,
        load_s=experiment.duration_s,
        around_s=GUESSED_S.get(around.kind, 10.0) if measured_s is None else measured_s,
        around_is_measured=measured_s is not None,
        arrivals=sum(phase.arrivals for phase in phases),
        journeys={name: weight / total_weight for name, weight in experiment.load.journeys.items()},
        seed=experiment.load.seed,
        overrides=loaded.overrides,
        phases=phases,
        faults=tuple(_touched(name, fault, loaded, around) for name, fault in used.items()),
        unused_faults=tuple(name for name in loaded.faults if name not in used),
        stop_conditions=tuple(condition.sentence() for condition in experiment.stop_when),
        parts=tuple(around.parts.values()),
        remarks=(*around.remarks, *_left_out(loaded, around)),
    )


def _left_out(loaded: LoadedExperiment, around: Surroundings) -> Iterator[str]:
    """The experiment's settings of the service, where that runs already."""
    if around.kind == "attached" and loaded.experiment.service:
        told = ", ".join(f"{name}: {value}" for name, value in loaded.experiment.service.items())
        yield f"the service has its own settings; the experiment's are left out ({told})"


def _touched(name: str, fault: Fault, loaded: LoadedExperiment, around: Surroundings) -> Touched:
    acts_on, touches = around.place_of(fault)
    written = loaded.experiment.faults[name]
    return Touched(
        fault=name,
        kind=fault.kind,
        on=fault.on,
        parameters={key: value for key, value in written.items() if key not in ("on", "kind")},
        spans=tuple(spans_of(name, loaded.phases)),
        acts_on=acts_on,
        touches=touches,
        undone=fault.told("Undone"),
    )


def spans_of(name: str, phases: Sequence[PlannedPhase]) -> Iterator[Span]:
    """When a fault is in. Phases that follow each other make one stretch: it stays in between them."""
    begun_s, until_s = None, 0.0
    for phase in phases:
        if name in phase.faults:
            begun_s = phase.start_s if begun_s is None else begun_s
            until_s = phase.end_s
        elif begun_s is not None:
            yield Span(begun_s, until_s)
            begun_s = None
    if begun_s is not None:
        yield Span(begun_s, until_s)


def around_s_of_earlier_runs(runs: Path, kind: str) -> float | None:
    """How much longer than their load the last completed runs on such a stack took; None without any."""
    bundles = sorted((path.parent for path in runs.glob("[0-9]*/journal.jsonl")), reverse=True)[:_LOOKED_AT]
    found = [took_s for bundle in bundles if (took_s := _around_s(bundle, kind)) is not None]
    return round(statistics.median(found), 1) if found else None


def _around_s(bundle: Path, kind: str) -> float | None:
    """None for a run that did not end by itself, and for what cannot be read: it is only an estimate."""
    try:
        if json.loads((bundle / "stack.json").read_text())["kind"] != kind:
            return None
        first = {entry["event"]: entry for entry in reversed(read(bundle / "journal.jsonl"))}
        if first["run.finished"]["status"] != "completed":
            return None
        load_s = max(float(phase["end_s"]) for phase in first["run.planned"]["phases"])
        return float(first["run.finished"]["at_s"]) - float(first["run.started"]["at_s"]) - load_s
    except (OSError, ValueError, KeyError, TypeError):
        return None
