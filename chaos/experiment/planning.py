"""An experiment's phases on the run's clock, in numbers.

What one phase allows alone may be too much with the baseline rate or with the others: a generator holds its
schedule in memory and plans a million arrivals and a day at most (`journeys.plan`).
"""

from __future__ import annotations

from dataclasses import dataclass

from chaos.experiment.model import Experiment
from chaos.experiment.rates import MAX_RATE_PER_S, Curve, mean_of, rate_at
from slo.documents import Document
from slo.units import format_duration

MAX_ARRIVALS = 1_000_000
MAX_RUN_S = 86_400.0


@dataclass(frozen=True, slots=True)
class PlannedPhase:
    """A phase on the run's clock; offsets in seconds from t0."""

    name: str
    start_s: float
    end_s: float
    rate_per_s: float
    """The mean, where the rate changes."""
    faults: tuple[str, ...]
    judged: bool
    curve: Curve = ()
    """The rate over time where it changes: (seconds from the phase's start, arrivals per second)."""
    rate_told: str = ""
    """The rate as people see it: `20`, `2 to 20`."""

    def rate_at(self, t_s: float) -> float:
        """Arrivals per second at a moment, in seconds from t0."""
        return rate_at(self.curve, t_s - self.start_s) if self.curve else self.rate_per_s


def plan_phases(experiment: Experiment) -> tuple[PlannedPhase, ...]:
    """The phases, laid end to end from t0."""
    planned, start_s = [], 0.0
    baseline = experiment.load.baseline_rate
    for phase in experiment.phases:
        end_s = round(start_s + phase.duration_s, 6)
        curve = phase.rate.curve(baseline, round(end_s - start_s, 6))
        planned.append(
            PlannedPhase(
                name=phase.name,
                start_s=start_s,
                end_s=end_s,
                rate_per_s=round(mean_of(curve), 9) if curve else phase.rate.levels[0].resolve(baseline),
                faults=phase.faults,
                judged=phase.judged,
                curve=curve,
                rate_told=phase.rate.told(baseline),
            )
        )
        start_s = end_s
    return tuple(planned)


def check_phases(document: Document, experiment: Experiment) -> list[str]:
    """Names that stand twice, and what the phases ask for that no generator could drive."""
    planned = plan_phases(experiment)
    problems = []
    for index, phase in enumerate(planned):
        if phase.name in [other.name for other in planned[:index]]:
            message = f"the name {phase.name!r} stands twice; phases need names of their own"
            problems.append(document.problem(("phases", index, "name"), message))
        peak = max([rate for _, rate in phase.curve], default=phase.rate_per_s)
        if peak > MAX_RATE_PER_S:
            message = (
                f"comes to {peak:g} arrivals/s with a baseline_rate of {experiment.load.baseline_rate:g}/s; "
                f"at most {MAX_RATE_PER_S:g}/s are allowed"
            )
            problems.append(document.problem(("phases", index, "rate"), message))
    arrivals = sum(phase.rate_per_s * (phase.end_s - phase.start_s) for phase in planned)
    if arrivals > MAX_ARRIVALS and not problems:
        message = (
            f"the phases add up to {arrivals:,.0f} arrivals; at most {MAX_ARRIVALS:,} are allowed: lower "
            f"baseline_rate or shorten a phase"
        )
        problems.append(document.problem(("phases",), message))
    if planned[-1].end_s > MAX_RUN_S:
        message = (
            f"the phases last {format_duration(planned[-1].end_s)} in all; at most "
            f"{format_duration(MAX_RUN_S)} are allowed"
        )
        problems.append(document.problem(("phases",), message))
    return problems
