"""What the journal is told about a run before anything happens: who runs what, and what is planned.

The evaluator takes phases, planned faults and their sizes from here (docs/reference/journal.md).
"""

from __future__ import annotations

from collections.abc import Mapping

from chaos import __version__
from chaos.experiment import LoadedExperiment
from chaos.run.journal import Journal
from slo import assertions


def tell_start(journal: Journal, run_id: str, loaded: LoadedExperiment) -> None:
    """`run.started`."""
    experiment = loaded.experiment
    journal.append(
        "run.started",
        run_id=run_id,
        experiment=experiment.name,
        title=experiment.title,
        hypothesis=experiment.hypothesis,
        owner=experiment.owner,
        incidents=list(experiment.incidents),
        ragquake=__version__,
        seed=experiment.load.seed,
        overrides=list(loaded.overrides),
    )


def tell_plan(journal: Journal, loaded: LoadedExperiment, arrivals: Mapping[str, int]) -> None:
    """`run.planned`, once the generator has said how many arrivals each phase has."""
    phases = [
        {
            "name": phase.name,
            "start_s": phase.start_s,
            "end_s": phase.end_s,
            "rate_per_s": phase.rate_per_s,
            **({"rate_told": phase.rate_told} if phase.curve else {}),
            "faults": list(phase.faults),
            "judged": phase.judged,
        }
        for phase in loaded.phases
    ]
    faults = {
        name: {
            "on": fault.on,
            "kind": fault.kind,
            "parameters": dict(fault.parameters()) | (fault.over_time.sentences() if fault.over_time else {}),
            "expects": dict(fault.expects() or {}),
        }
        for name, fault in loaded.faults.items()
    }
    journal.append(
        "run.planned",
        phases=phases,
        faults=faults,
        arrivals=arrivals,
        assertions=[assertions.name_of(raw) for raw in loaded.experiment.assertions],
        objectives=[one.name for one in loaded.objectives.objectives],
    )
