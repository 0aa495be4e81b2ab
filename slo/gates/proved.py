"""Was something proved: did every journey run, and did every asserted mechanism move?

An assertion about a breaker that never opened holds for nothing; it is inconclusive, and so is the run. Nor
does anything hold of which the bundle no longer tells: the journal has the names of all that was claimed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from slo.attempts import Attempt
from slo.evidence import Evidence
from slo.judging import Judged
from slo.objectives import Objective
from slo.verdict import Assertion, Gate

SURELY = 20
"""So many of a journey are expected in a phase, and none came: by chance once in 500 million phases."""


def check(
    evidence: Evidence,
    asserted: Sequence[Assertion],
    objectives: Sequence[Objective],
    judged: Sequence[Judged],
) -> Gate:
    """Pass when nothing that was planned stood still."""
    started = [one for one in evidence.attempts.all if one.journey and not one.dropped]
    ran = Counter(one.journey for one in started)
    load = evidence.experiment.get("load")
    weights = load.get("journeys") if isinstance(load, Mapping) else None
    planned = (
        {str(name): float(weight) for name, weight in weights.items() if isinstance(weight, int | float)}
        if isinstance(weights, Mapping)
        else {}
    )
    idle = sorted(name for name, weight in planned.items() if weight and name not in ran)
    still = [f"{one.name}: {one.message}" for one in asserted if one.verdict == "inconclusive"]
    problems = [] if evidence.experiment else ["experiment.yaml cannot be read, so nobody knows the claims"]
    problems += [f"no journey of {', '.join(idle)} ran"] if idle else []
    problems += [
        *_stood_still(evidence, started, planned),
        *_forgotten(evidence, [one.name for one in asserted], [one.name for one in objectives]),
        *_never_asked(evidence, objectives, judged),
        *still,
    ]
    facts = {"journeys": dict(sorted(ran.items())), "assertions": len(asserted)}
    if problems:
        return Gate(name="proved", verdict="inconclusive", message="; ".join(problems), facts=facts)
    message = f"{len(ran)} kinds of journeys ran, {len(asserted)} assertions had something to show"
    return Gate(name="proved", verdict="pass", message=message, facts=facts)


def _stood_still(
    evidence: Evidence, started: Sequence[Attempt], weights: Mapping[str, float]
) -> Iterator[str]:
    """Journeys that ran in the run, and not in a judged phase in which many of them were to."""
    whole = sum(weights.values())
    for phase in evidence.plan.phases:
        if not (phase.judged and phase.complete and phase.arrivals and whole):
            continue
        inside = {one.journey for one in started if phase.start_s <= one.at_s < phase.end_s}
        anywhere = {one.journey for one in started}
        missing = [
            name
            for name, weight in weights.items()
            if phase.arrivals * weight / whole >= SURELY and name not in inside and name in anywhere
        ]
        if missing:
            yield f"no journey of {', '.join(sorted(missing))} ran in {phase.name}"


def _forgotten(evidence: Evidence, assertions: Sequence[str], objectives: Sequence[str]) -> Iterator[str]:
    """What the run claimed, as its journal says, and the bundle's files do not any more."""
    for what, file, claimed, found in (
        ("assertion", "experiment.yaml", evidence.plan.assertions, assertions),
        ("objective", "objectives.yaml", evidence.plan.objectives, objectives),
    ):
        if lost := Counter(claimed) - Counter(found):
            yield f"{file} was cut off or edited: the run had the {what} {', '.join(sorted(lost))}"


def _never_asked(
    evidence: Evidence, objectives: Sequence[Objective], judged: Sequence[Judged]
) -> Iterator[str]:
    """Objectives that hold in a judged phase, where nothing was to be asked of them, such as a recovery that
    no judged phase could see. Without a fault there is nothing to recover from."""
    asked = {one.record.name for one in judged}
    phases = [phase.name for phase in evidence.plan.phases if phase.judged]
    for one in objectives if evidence.plan.faults else ():
        if one.name not in asked and any(one.target_in(phase) is not None for phase in phases):
            yield f"{one.name} was asked in no phase: no judged phase could show it"
