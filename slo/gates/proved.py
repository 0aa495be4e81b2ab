"""Was something proved: did every journey run, and did every asserted mechanism move?

An assertion about a breaker that never opened holds for nothing; it is inconclusive, and so is the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from slo.evidence import Evidence
from slo.verdict import Assertion, Gate


def check(evidence: Evidence, asserted: Sequence[Assertion]) -> Gate:
    """Pass when nothing that was planned stood still."""
    ran = Counter(one.journey for one in evidence.attempts.all if one.journey and not one.dropped)
    load = evidence.experiment.get("load")
    weights = load.get("journeys") if isinstance(load, Mapping) else None
    planned = (
        {str(name) for name, weight in weights.items() if weight} if isinstance(weights, Mapping) else set()
    )
    idle = sorted(planned - set(ran))
    still = [f"{one.name}: {one.message}" for one in asserted if one.verdict == "inconclusive"]
    problems = ([f"no journey of {', '.join(idle)} ran"] if idle else []) + still
    facts = {"journeys": dict(sorted(ran.items())), "assertions": len(asserted)}
    if problems:
        return Gate(name="proved", verdict="inconclusive", message="; ".join(problems), facts=facts)
    message = f"{len(ran)} kinds of journeys ran, {len(asserted)} assertions had something to show"
    return Gate(name="proved", verdict="pass", message=message, facts=facts)
