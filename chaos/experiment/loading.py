"""From a file to an experiment that can run: resolved, and checked in all its parts and relations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from chaos.experiment.kinds import require_kind
from chaos.experiment.model import Experiment
from chaos.experiment.planning import PlannedPhase, check_phases, plan_phases
from chaos.experiment.relations import check_relations, load_objectives, parse_faults
from chaos.experiment.resolving import resolve
from chaos.faults import Fault
from slo import objectives
from slo.documents import Document, DocumentError, read_document


class AbstractExperimentError(DocumentError):
    """An experiment that is a base for others was asked to be one itself."""


@dataclass(frozen=True, slots=True)
class LoadedExperiment:
    """An experiment with its resolved document, its overrides and its faults parsed."""

    path: Path
    experiment: Experiment
    document: Document
    overrides: tuple[str, ...]
    faults: Mapping[str, Fault]
    objectives: objectives.Objectives

    def standing_alone(self) -> dict[str, Any]:
        """The resolved file as a bundle keeps it, beside its objectives.yaml: it needs no other file."""
        named = self.experiment.objectives
        is_file = isinstance(named, str) and named != "default"
        return self.document.data | ({"objectives": "objectives.yaml"} if is_file else {})

    @property
    def phases(self) -> tuple[PlannedPhase, ...]:
        """The phases, laid end to end from t0."""
        return plan_phases(self.experiment)


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> LoadedExperiment:
    """Read and check an experiment. Raises DocumentError with every problem that was found.

    Raises AbstractExperimentError for a file that is only a base, once it is right as one.
    """
    return load_document(read_document(path), overrides)


def load_document(own: Document, overrides: Sequence[str] = ()) -> LoadedExperiment:
    """The same for a file that was read already."""
    require_kind(own, "Experiment")
    resolved = resolve(own, overrides)
    document = resolved.document
    if resolved.is_abstract:
        _check_base(document)
        raise AbstractExperimentError(
            [
                document.problem(
                    ("abstract",), "this is a base for others and cannot run; run one that extends it"
                )
            ]
        )
    try:
        experiment = Experiment.model_validate(document.data)
    except ValidationError as error:
        raise DocumentError(document.problems_of(error, Experiment)) from None
    faults, problems = parse_faults(document, experiment.faults)
    judged_by, more = load_objectives(document, experiment)
    problems += more + check_phases(document, experiment) + check_relations(document, experiment, judged_by)
    if problems or judged_by is None:
        raise DocumentError(problems)
    return LoadedExperiment(own.path, experiment, document, tuple(overrides), faults, judged_by)


def _check_base(document: Document) -> None:
    """A base may lack what those that extend it bring; what it does say must be right."""
    problems: list[str] = []
    try:
        Experiment.model_validate(document.data)
    except ValidationError as error:
        problems = document.problems_of(error, Experiment, but="missing")
    faults = document.data.get("faults")
    if isinstance(faults, dict):
        problems += [problem for problem in parse_faults(document, faults)[1] if problem not in problems]
    if problems:
        raise DocumentError(problems)
