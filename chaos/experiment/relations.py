"""What the parts of an experiment say of each other: a phase names a fault, a control its reason.

Each check returns its complaints with the line that is to blame; what one part alone may say is the model's
business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from chaos.experiment.kinds import require_kind
from chaos.experiment.model import Experiment
from chaos.faults import Fault, parse_fault
from chaos.journeys_folder import known_journeys
from slo import assertions, objectives
from slo.documents import Document, DocumentError, Location, did_you_mean, read_document
from slo.segments import default_table


def parse_faults(document: Document, written: Mapping[str, Any]) -> tuple[dict[str, Fault], list[str]]:
    """The faults by name, and what is wrong with the others."""
    faults: dict[str, Fault] = {}
    problems: list[str] = []
    for name, raw in written.items():
        try:
            faults[name] = parse_fault(name, raw)
        except ValidationError as error:
            problems += document.problems_of(error, at=("faults", name))
        except ValueError as error:
            problems.append(document.problem(("faults", name, "kind"), str(error)))
    return faults, problems


def load_objectives(
    document: Document, experiment: Experiment
) -> tuple[objectives.Objectives | None, list[str]]:
    """The objectives: the default ones, a file beside the one that names it, or the list itself."""
    named = experiment.objectives
    try:
        if named == "default":
            return objectives.load_default(), []
        if isinstance(named, str):
            source = document.mark_of(("objectives",)).source
            beside = source if isinstance(source, Path) else document.path
            require_kind(read_document(beside.parent / named), "Objectives")
            return objectives.load(beside.parent / named), []
        return objectives.from_list(named), []
    except DocumentError as error:
        return None, [document.problem(("objectives",), problem) for problem in error.problems]
    except ValidationError as error:
        return None, document.problems_of(error, objectives.Objectives)


def check_relations(
    document: Document, experiment: Experiment, judged_by: objectives.Objectives | None
) -> list[str]:
    """Every complaint about what the parts say of each other."""
    return [
        *_journeys(document, experiment),
        *_faults_of_phases(document, experiment),
        *_phases_of_objectives(document, experiment),
        *_assertions(document, experiment, judged_by),
        *_controls(document, experiment, judged_by),
    ]


def _journeys(document: Document, experiment: Experiment) -> Iterable[str]:
    known = known_journeys()
    for name in experiment.load.journeys:
        if name not in known:
            message = f"no journey is called {name!r}{did_you_mean(name, known)}; allowed: {', '.join(known)}"
            yield document.problem(("load", "journeys", name), message)


def _faults_of_phases(document: Document, experiment: Experiment) -> Iterable[str]:
    known = sorted(experiment.faults)
    for index, phase in enumerate(experiment.phases):
        for fault in phase.faults:
            if fault not in experiment.faults:
                allowed = ", ".join(known) or "none are declared under faults"
                message = f"no fault is called {fault!r}{did_you_mean(fault, known)}; allowed: {allowed}"
                yield document.problem(("phases", index, "faults"), message)


def _phases_of_objectives(document: Document, experiment: Experiment) -> Iterable[str]:
    """Of an experiment's own objectives; a file of objectives serves experiments with other phases, too."""
    known = [phase.name for phase in experiment.phases]
    for index, raw in enumerate(experiment.objectives if isinstance(experiment.objectives, list) else ()):
        for key in ("phases", "in"):
            for name in raw[key] if isinstance(raw.get(key), list | dict) else ():
                if name not in known:
                    hint = did_you_mean(str(name), known)
                    message = f"no phase is called {name!r}{hint}; allowed: {', '.join(known)}"
                    yield document.problem(("objectives", index, key), message)


def _assertions(
    document: Document, experiment: Experiment, judged_by: objectives.Objectives | None
) -> Iterable[str]:
    phases = [phase.name for phase in experiment.phases]
    table = judged_by.table if judged_by else default_table()
    for index, raw in enumerate(experiment.assertions):
        for where, message in assertions.problems_of(raw, phases, table.guards):
            yield document.problem(("assertions", index, *where), message)


def _controls(
    document: Document, experiment: Experiment, judged_by: objectives.Objectives | None
) -> Iterable[str]:
    rules = [assertions.name_of(raw) for raw in experiment.assertions]
    known = [*(one.name for one in judged_by.objectives), *rules] if judged_by else []
    for index, control in enumerate(experiment.negative_controls):
        is_list = isinstance(document.data.get("negative_control"), list)
        at: Location = ("negative_control", index) if is_list else ("negative_control",)
        by_hand = all(document.mark_of(("service", name)).line is None for name in control.service)
        if experiment.service | control.service == experiment.service and not by_hand:
            message = f"switches nothing off: the experiment itself has {dict(control.service)}"
            yield document.problem((*at, "service"), message)
        for name in control.because if judged_by else ():
            if name not in known:
                message = (
                    f"no objective or assertion is called {name!r}{did_you_mean(name, known)}; "
                    f"there are: {', '.join(known)}"
                )
                yield document.problem((*at, "because"), message)
