"""The experiment language: what a YAML file may say, and what it means in numbers."""

from chaos.experiment.finding import BUNDLED, find_experiment
from chaos.experiment.loading import AbstractExperimentError, LoadedExperiment, load_experiment
from chaos.experiment.model import Experiment, Load, Phase
from chaos.experiment.negative_control import NegativeControl
from chaos.experiment.part import MAX_PHASE_S
from chaos.experiment.planning import PlannedPhase
from chaos.experiment.rates import Rate
from chaos.experiment.stop_condition import StopCondition

__all__ = [
    "BUNDLED",
    "MAX_PHASE_S",
    "AbstractExperimentError",
    "Experiment",
    "Load",
    "LoadedExperiment",
    "NegativeControl",
    "Phase",
    "PlannedPhase",
    "Rate",
    "StopCondition",
    "find_experiment",
    "load_experiment",
]
