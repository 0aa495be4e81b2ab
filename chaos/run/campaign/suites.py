"""A suite as a campaign: runs of the same need in a row, so that they can share a stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from chaos.experiment.suite import LoadedSuite
from chaos.run.campaign.arms import PlannedRun, arms_of, plan_runs
from chaos.run.campaign.conducting import CampaignPlan
from chaos.run.options import RunOptions, need_of

KeyT = TypeVar("KeyT")


def plan_suite(loaded: LoadedSuite, options: RunOptions) -> CampaignPlan:
    """Every experiment of the suite with its repeats and controls, in an order that shares the stack."""
    runs = [
        planned
        for entry, experiment in zip(loaded.suite.experiments, loaded.experiments, strict=True)
        for planned in plan_runs(arms_of(experiment, control=entry.control), experiment.experiment.repeats)
    ]
    return CampaignPlan(
        kind="suite",
        name=loaded.suite.name,
        runs=in_groups(runs, lambda planned: need_of(planned.loaded, options)),
        share=True,
        budget_s=loaded.suite.budget_s,
    )


def in_groups(runs: Sequence[PlannedRun], key: Callable[[PlannedRun], KeyT]) -> tuple[PlannedRun, ...]:
    """Those of the same key in a row, keys and runs in the order in which they first came."""
    groups: list[tuple[KeyT, list[PlannedRun]]] = []
    for planned in runs:
        wanted = key(planned)
        found = next((group for known, group in groups if known == wanted), None)
        if found is None:
            groups.append((wanted, [planned]))
        else:
            found.append(planned)
    return tuple(planned for _, group in groups for planned in group)
