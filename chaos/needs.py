"""Refuse, before anything starts, a fault that the chosen stack has nobody to commit.

A run that finds this out in its fault phase has cost minutes and proved nothing.
"""

from __future__ import annotations

from chaos.experiment import LoadedExperiment
from slo.documents import DocumentError


def require_possible(loaded: LoadedExperiment, stack: str, llm: str) -> None:
    """Raise DocumentError, a line for each fault that needs the simulator where there is none."""
    if stack == "local" and llm == "simulator":
        return
    used = {name for phase in loaded.experiment.phases for name in phase.faults}
    where = f"--llm {llm}" if stack == "local" else f"--stack {stack}"
    problems = [
        loaded.document.problem(
            ("faults", name, "kind"),
            f"{fault.kind} is committed by the simulated model server, which {where} has not within reach; "
            f"leave that flag out, or take a fault on bytes (`ragquake list faults`)",
        )
        for name, fault in loaded.faults.items()
        if name in used and fault.needs == "simulator"
    ]
    if problems:
        raise DocumentError(problems)
