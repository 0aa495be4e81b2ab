"""The arrival schedule: who comes when, decided before the first request is sent.

Open loop: users arrive when they arrive, whether or not the service keeps up. A closed loop sends less
exactly when the service is sick (measured: 140 ms instead of 3,353 ms at p95 over one 4 s freeze), so
arrivals follow a list that nothing at run time can change.

Arrivals are a Poisson process with the phase's rate, or evenly spaced along it where the plan says
`constant`. Each phase, and each arrival in it, draws from a random stream of its own, so changing one
phase moves no arrival of another, and two runs with one seed ask the same questions at the same offsets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from math import nextafter
from random import Random

from journeys.plan import Phase, Plan
from journeys.questions import Question
from journeys.rate_curve import RateCurve


@dataclass(frozen=True, slots=True)
class Arrival:
    """One user's arrival: `index` counts from 1 over the run, `t_s` from t0."""

    index: int
    t_s: float
    phase: str
    journey: str
    questions: tuple[Question, ...]
    seed: str
    """Feeds whatever else this user chooses, such as think times."""


def schedule(
    plan: Plan, questions: Sequence[Question], questions_per_journey: Mapping[str, int]
) -> tuple[Arrival, ...]:
    """Every arrival of the plan, in order of time."""
    names = tuple(plan.journeys)
    weights = tuple(plan.journeys.values())
    arrivals: list[Arrival] = []
    for phase in plan.phases:
        for number, t_s in enumerate(_times(phase, plan), 1):
            user = Random(f"{plan.seed}/{phase.name}/{number}")
            (journey,) = user.choices(names, weights)
            arrivals.append(
                Arrival(
                    index=len(arrivals) + 1,
                    t_s=t_s,
                    phase=phase.name,
                    journey=journey,
                    questions=tuple(_pick(user, questions, questions_per_journey[journey])),
                    seed=f"{plan.seed}/{phase.name}/{number}/choices",
                )
            )
    return tuple(arrivals)


def arrivals_per_phase(plan: Plan, arrivals: Sequence[Arrival]) -> dict[str, int]:
    """How many arrivals each phase got; a phase without any counts 0."""
    counts = {phase.name: 0 for phase in plan.phases}
    for arrival in arrivals:
        counts[arrival.phase] += 1
    return counts


def _times(phase: Phase, plan: Plan) -> Iterator[float]:
    """A mark is the number of arrivals that were to be expected until an arrival."""
    gaps = Random(f"{plan.seed}/{phase.name}")
    marks = count(0.5) if plan.arrivals == "constant" else accumulate(gaps.expovariate(1.0) for _ in count())
    for t_s in RateCurve(phase.points).times(marks):
        # A sum that rounds up to the phase's end would belong to the next phase.
        yield min(phase.start_s + t_s, nextafter(phase.end_s, 0.0))


def _pick(user: Random, questions: Sequence[Question], count: int) -> list[Question]:
    """Different questions as far as there are enough of them."""
    if count <= len(questions):
        return user.sample(questions, count)
    return user.choices(questions, k=count)
