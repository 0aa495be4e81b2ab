"""The one reason that matters in a verdict, and what to do about it: the first sentence that anybody reads.

Of what failed, the baseline comes first (the service was not well before anything was done to it), then what
users see, then the rest, in the order in which the objectives stand and the phases came. Of what is missing,
what makes all else worthless comes first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from slo.plan import Plan
from slo.segments import JOURNEY
from slo.verdict import Assertion, Gate, Objective, Verdict

_MISSING = {
    "load": "the load was not driven as planned",
    "evidence": "evidence is missing",
    "bite": "a fault did not bite",
    "samples": "the data does not decide",
    "proved": "not everything was put to the test",
    "finished": "the run did not go to its end",
}


def broken_objectives(verdict: Verdict, plan: Plan) -> list[Objective]:
    """The objectives that failed, the one that matters most first."""
    failed = [one for one in verdict.objectives if one.verdict == "fail"]
    baseline = plan.baseline.name if plan.baseline else None
    return sorted(failed, key=lambda one: (one.phase != baseline, one.segment != JOURNEY))


def unmet_gates(verdict: Verdict) -> list[Gate]:
    """The gates that did not hold, the one that explains the others first."""
    order = ["load", "evidence"]
    if verdict.run.status != "stopped":
        order.insert(0, "finished")
    place = {name: number for number, name in enumerate(order)}
    unmet = [gate for gate in verdict.gates if gate.verdict != "pass"]
    return sorted(unmet, key=lambda gate: place.get(gate.name, len(order)))


def why_failed(objectives: Sequence[Objective], assertions: Sequence[Assertion]) -> str:
    """`answered in fault. Journey good_ratio was 62 % …; target >= 98% is missed …. 1 more … failed.`"""
    if objectives:
        first = objectives[0]
        what = f"{first.segment.capitalize()} {first.indicator}"
        told = f"{first.name} in {first.phase}. {what} was {first.message}"
    else:
        told = f"{assertions[0].name}: {assertions[0].message}"
    others = (
        (len(objectives) - 1 if objectives else 0, "objective"),
        (len(assertions) if objectives else len(assertions) - 1, "assertion"),
    )
    more = " and ".join(f"{count} more {what}{'s' if count > 1 else ''}" for count, what in others if count)
    return f"{ended(told)} {more} failed." if more else ended(told)


def what_is_missing(gate: Gate, plan: Plan) -> str:
    """`a fault did not bite. slow: only 3 of 90 search spans …. Does the service …?`"""
    told = f"{_MISSING[gate.name]}. {ended(gate.message[:1].upper() + gate.message[1:])}"
    advice = _advice(gate, plan)
    return f"{told} {advice}" if advice else told


def _advice(gate: Gate, plan: Plan) -> str:
    """What to do; the gates on load and evidence say it themselves."""
    if gate.name == "bite":
        return "Does the service call that dependency through the fault proxy, and is the fault large enough?"
    if gate.name == "samples":
        return _more_time(gate, plan)
    if gate.name == "proved":
        return "Make the phase longer or the fault larger, or take out what is not meant to happen."
    return "Run it again, and let it end by itself." if gate.name == "finished" else ""


def _more_time(gate: Gate, plan: Plan) -> str:
    """The flags that would have given enough data, as far as that is known."""
    wanted_s: dict[str, float] = {}
    for one in gate.facts.get("open", ()):
        if isinstance(one.get("more_s"), int | float):
            wanted_s[one["phase"]] = max(one["more_s"], wanted_s.get(one["phase"], 0.0))
    lengths_s = {phase.name: phase.span_s for phase in plan.phases}
    flags = [
        f"--set phases.{name}.for={math.ceil((lengths_s[name] + more_s) * 1.1)}s"
        for name, more_s in wanted_s.items()
        if name in lengths_s
    ]
    return f"Run it again with {' '.join(flags)}." if flags else "Run it longer, or with more arrivals."


def ended(message: str) -> str:
    """With a full stop, unless it has one."""
    return message if message.endswith((".", "?", "!")) else f"{message}."
