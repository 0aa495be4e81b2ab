"""The experiment language: what a YAML file may say, and what it means in numbers."""

from chaos.experiment.loading import (
    BUNDLED,
    LoadedExperiment,
    PlannedPhase,
    find_experiment,
    load_experiment,
)
from chaos.experiment.model import MAX_PHASE_S, Experiment, Load, Phase, Rate, StopCondition

__all__ = [
    "BUNDLED",
    "MAX_PHASE_S",
    "Experiment",
    "Load",
    "LoadedExperiment",
    "Phase",
    "PlannedPhase",
    "Rate",
    "StopCondition",
    "find_experiment",
    "load_experiment",
]
