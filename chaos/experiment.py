"""The experiment language: what a YAML file may say, and what it means in numbers.

Everything is checked before anything starts, so that a run never dies half-way of a typo and never
quietly ignores a key. Relations between parts (a phase that names a fault, an assertion that names a
phase) are checked here too, with the line that is to blame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from chaos.faults import Fault, parse_fault
from chaos.journeys_folder import known_journeys
from chaos.overrides import apply_override
from slo import assertions, objectives
from slo.documents import Document, DocumentError, did_you_mean, explain, read_document
from slo.units import parse_duration_s, parse_rate_per_s, parse_ratio

BUNDLED = Path(__file__).parent / "experiments"
MAX_PHASE_S = 6 * 3600.0
MAX_RATE_PER_S = 2000.0


def _multiple_or_rate(text: object) -> Rate:
    written = str(text).strip()
    if written.endswith("x"):
        try:
            return Rate(multiple=_positive(float(written[:-1])))
        except ValueError:
            pass
    else:
        try:
            return Rate(per_s=_positive(parse_rate_per_s(written)))
        except ValueError:
            pass
    raise ValueError(
        f"{text!r} is not a rate; write a multiple of baseline_rate, such as 10x, or a rate, such as 4/s"
    )


def _positive(number: float) -> float:
    if not 0 < number <= MAX_RATE_PER_S:
        raise ValueError(f"{number:g} is out of range; allowed is more than 0 and at most {MAX_RATE_PER_S:g}")
    return number


def _duration_within_bounds(text: object) -> float:
    seconds = parse_duration_s(text)
    if not 0 < seconds <= MAX_PHASE_S:
        raise ValueError(f"{text!r} is out of range; allowed is more than 0s and at most {MAX_PHASE_S:g}s")
    return seconds


@dataclass(frozen=True, slots=True)
class Rate:
    """Arrivals as a multiple of the baseline rate, or absolute."""

    multiple: float | None = None
    per_s: float | None = None

    def resolve(self, baseline_per_s: float) -> float:
        """Arrivals per second."""
        return self.per_s if self.per_s is not None else (self.multiple or 1.0) * baseline_per_s


PhaseRate = Annotated[Rate, BeforeValidator(_multiple_or_rate)]
BoundedDuration = Annotated[float, BeforeValidator(_duration_within_bounds)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,59}$")]


class Part(BaseModel):
    """A part of an experiment: fixed once read, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Load(Part):
    """Who arrives, how often."""

    baseline_rate: Annotated[float, BeforeValidator(lambda v: _positive(parse_rate_per_s(v)))]
    journeys: dict[Name, Annotated[float, Field(gt=0, le=1e6)]] = Field(min_length=1)
    patience: BoundedDuration = 10.0
    max_in_flight: Annotated[int, Field(ge=1, le=20_000)] = 2000
    seed: Annotated[int, Field(ge=0)] = 1


class Phase(Part):
    """A named stretch of the run."""

    name: Name
    duration_s: BoundedDuration = Field(alias="for")
    rate: PhaseRate = Rate(multiple=1.0)
    faults: tuple[str, ...] = ()
    judged: bool = True


class StopCondition(Part):
    """When to give up: the indicator has stayed above the bound for a while."""

    segment: Literal["journey"]
    indicator: Literal["error_ratio"]
    above: Annotated[float, BeforeValidator(parse_ratio), Field(ge=0, le=1)]
    for_s: BoundedDuration = Field(alias="for")


class NegativeControl(Part):
    """The second arm that must fail, to prove that the experiment can."""

    resilience: Literal["off"]
    expect: Literal["fail"]


class Experiment(Part):
    """One experiment, as its file says it."""

    api_version: Literal["ragquake/v1"] = Field(alias="apiVersion")
    kind: Literal["Experiment"]
    name: Name
    title: Annotated[str, Field(min_length=1, max_length=200)]
    owner: Annotated[str, Field(min_length=1, max_length=100)]
    hypothesis: Annotated[str, Field(min_length=1, max_length=2000)]
    incidents: tuple[str, ...] = ()
    load: Load
    service: dict[str, str | int | float | bool] = {}
    faults: dict[Name, dict[str, Any]] = {}
    phases: Annotated[tuple[Phase, ...], Field(min_length=1, max_length=200)]
    stop_when: tuple[StopCondition, ...] = ()
    objectives: str | list[dict[str, Any]] = "default"
    assertions: tuple[dict[str, Any], ...] = ()
    negative_control: NegativeControl | None = None

    @model_validator(mode="after")
    def _phase_names_are_unique(self) -> Experiment:
        names = [phase.name for phase in self.phases]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"phases: the name {twice[0]!r} stands twice; phases need names of their own")
        return self

    @property
    def duration_s(self) -> float:
        return sum(phase.duration_s for phase in self.phases)


@dataclass(frozen=True, slots=True)
class PlannedPhase:
    """A phase on the run's clock; offsets in seconds from t0."""

    name: str
    start_s: float
    end_s: float
    rate_per_s: float
    faults: tuple[str, ...]
    judged: bool


@dataclass(frozen=True, slots=True)
class LoadedExperiment:
    """An experiment with its file, its overrides and its faults parsed."""

    path: Path
    experiment: Experiment
    document: Document
    overrides: tuple[str, ...]
    faults: Mapping[str, Fault]
    objectives: objectives.Objectives

    @property
    def phases(self) -> tuple[PlannedPhase, ...]:
        """The phases, laid end to end from t0."""
        planned, start_s = [], 0.0
        baseline = self.experiment.load.baseline_rate
        for phase in self.experiment.phases:
            end_s = round(start_s + phase.duration_s, 6)
            rate = phase.rate.resolve(baseline)
            planned.append(PlannedPhase(phase.name, start_s, end_s, rate, phase.faults, phase.judged))
            start_s = end_s
        return tuple(planned)


def find_experiment(name_or_path: str, folders: Sequence[Path] = ()) -> Path:
    """The file of an experiment, by path or by the name of a bundled one. Raises DocumentError."""
    given = Path(name_or_path)
    if given.suffix in (".yaml", ".yml") or given.exists():
        if not given.is_file():
            raise DocumentError([f"{given}: there is no such file"])
        return given
    places = [*folders, Path("chaos/experiments"), BUNDLED]
    for place in places:
        if (place / f"{name_or_path}.yaml").is_file():
            return place / f"{name_or_path}.yaml"
    known = sorted({path.stem for place in places for path in place.glob("*.yaml")})
    raise DocumentError(
        [
            f"no experiment is called {name_or_path!r}{did_you_mean(name_or_path, known)}; "
            f"there are: {', '.join(known)}; or give the path of a file"
        ]
    )


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> LoadedExperiment:
    """Read and check an experiment. Raises DocumentError with every problem that was found."""
    document = read_document(path)
    for override in overrides:
        apply_override(document, override)
    try:
        experiment = Experiment.model_validate(document.data)
    except ValidationError as error:
        raise DocumentError(document.problems_of(error, Experiment)) from None
    faults, problems = _parse_faults(document, experiment)
    problems += _check_journeys(document, experiment)
    problems += _check_phases(document, experiment)
    problems += _check_assertions(document, experiment)
    judged_by, more = _load_objectives(document, experiment)
    if problems + more or judged_by is None:
        raise DocumentError(problems + more)
    return LoadedExperiment(path, experiment, document, tuple(overrides), faults, judged_by)


def _parse_faults(document: Document, experiment: Experiment) -> tuple[dict[str, Fault], list[str]]:
    faults: dict[str, Fault] = {}
    problems: list[str] = []
    for name, raw in experiment.faults.items():
        try:
            faults[name] = parse_fault(name, raw)
        except ValidationError as error:
            for detail in error.errors():
                at = ("faults", name, *detail["loc"])
                problems.append(document.problem(at, explain(dict(detail))))
        except ValueError as error:
            problems.append(document.problem(("faults", name, "kind"), str(error)))
    return faults, problems


def _check_journeys(document: Document, experiment: Experiment) -> list[str]:
    known = known_journeys()
    return [
        document.problem(
            ("load", "journeys", name),
            f"no journey is called {name!r}{did_you_mean(name, known)}; allowed: {', '.join(known)}",
        )
        for name in experiment.load.journeys
        if name not in known
    ]


def _check_phases(document: Document, experiment: Experiment) -> list[str]:
    problems = []
    known = sorted(experiment.faults)
    for index, phase in enumerate(experiment.phases):
        for fault in phase.faults:
            if fault not in experiment.faults:
                allowed = ", ".join(known) or "none are declared under faults"
                message = f"no fault is called {fault!r}{did_you_mean(fault, known)}; allowed: {allowed}"
                problems.append(document.problem(("phases", index, "faults"), message))
    return problems


def _check_assertions(document: Document, experiment: Experiment) -> list[str]:
    problems = []
    phases = [phase.name for phase in experiment.phases]
    for index, raw in enumerate(experiment.assertions):
        at = ("assertions", index)
        try:
            assertions.parse(raw)
        except ValidationError as error:
            problems += [document.problem((*at, *d["loc"]), explain(dict(d))) for d in error.errors()]
        except ValueError as error:
            problems.append(document.problem(at, str(error)))
        for name, parameters in raw.items():
            after = parameters.get("after") if isinstance(parameters, Mapping) else None
            if after is not None and after not in phases:
                message = f"no phase is called {after!r}{did_you_mean(str(after), phases)}"
                problems.append(document.problem((*at, name, "after"), message))
    return problems


def _load_objectives(
    document: Document, experiment: Experiment
) -> tuple[objectives.Objectives | None, list[str]]:
    """The objectives: the default ones, a file beside the experiment, or the list that stands in it."""
    named = experiment.objectives
    try:
        if named == "default":
            return objectives.load_default(), []
        if isinstance(named, str):
            return objectives.load(document.path.parent / named), []
        return objectives.from_list(named), []
    except DocumentError as error:
        return None, list(error.problems)
    except ValidationError as error:
        return None, document.problems_of(error, objectives.Objectives)
