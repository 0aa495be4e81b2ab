"""From a file to an experiment that can run: found, read, overridden, checked in all its relations.

Relations between parts (a phase that names a fault, an assertion that names a phase) are checked here, with
the line that is to blame; what one part alone may say is the model's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from chaos.experiment.model import Experiment
from chaos.experiment.overrides import apply_override
from chaos.experiment.planning import PlannedPhase, check_phases, plan_phases
from chaos.faults import Fault, parse_fault
from chaos.journeys_folder import known_journeys
from slo import assertions, objectives
from slo.documents import Document, DocumentError, did_you_mean, read_document

BUNDLED = Path(__file__).parents[1] / "experiments"


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
        return plan_phases(self.experiment)


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
    problems += _check_faults_of_phases(document, experiment)
    problems += check_phases(document, experiment)
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
            problems += document.problems_of(error, at=("faults", name))
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


def _check_faults_of_phases(document: Document, experiment: Experiment) -> list[str]:
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
            problems += document.problems_of(error, at=at)
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
