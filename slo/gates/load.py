"""Was the load honest: did arrivals follow the schedule, and was the generator fast enough to know?

A generator that falls behind sends less when the service is slow, and then every percentile is too kind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from slo.attempts import Attempt
from slo.evidence import Evidence
from slo.plan import Plan, PlannedPhase
from slo.statistics import percentile
from slo.units import format_duration, format_ratio
from slo.verdict import Gate

ACHIEVED_RATIO = 0.95
LAG_S = 0.050
LAG_RATIO = 0.02
PHASE_LAG_Q = 0.95
"""Of one phase; its p99 would be its latest arrival. A generator that stood still for seconds shows here."""
CPU_RATIO = 0.9
TOLD_TO_STOP = 130
"""How the generator ends when a stop condition holds."""


def check(evidence: Evidence) -> Gate:
    """Pass when the schedule was kept."""
    facts: dict[str, Any] = {"phases": _phases(evidence)}
    problems = _achieved(evidence, facts) + _lag(evidence, facts) + _generator(evidence, facts)
    if problems:
        advice = "Use a machine with more room, fewer arrivals, or more in flight."
        return Gate(
            name="load", verdict="inconclusive", message=f"{'; '.join(problems)}. {advice}", facts=facts
        )
    lag = f"lag p99 {format_duration(facts['lag_p99_s'])}" if "lag_p99_s" in facts else "no lag known"
    message = f"{format_ratio(facts['achieved_ratio'])} of the schedule was driven, {lag}"
    return Gate(name="load", verdict="pass", message=message, facts=facts)


def _phases(evidence: Evidence) -> dict[str, dict[str, Any]]:
    first: dict[int, tuple[float, bool]] = {}
    for one in evidence.attempts.all:
        if one.arrival is not None and one.arrival not in first:
            first[one.arrival] = (one.at_s, one.dropped)
    found: dict[str, dict[str, Any]] = {}
    for phase in evidence.plan.phases:
        inside = [dropped for at_s, dropped in first.values() if phase.start_s <= at_s < phase.end_s]
        found[phase.name] = {
            "planned": phase.arrivals,
            "seen": len(inside),
            "dropped": sum(inside),
            "complete": phase.complete,
        }
    return found


def _achieved(evidence: Evidence, facts: dict[str, Any]) -> list[str]:
    problems = []
    planned_in_all = driven_in_all = 0
    for phase in evidence.plan.phases:
        counts = facts["phases"][phase.name]
        if phase.judged and phase.complete and counts["planned"] is None:
            problems.append(f"nothing says how many were to arrive in {phase.name}")
        if phase.judged and phase.complete and counts["planned"] == 0:
            problems.append(f"nobody was to arrive in {phase.name}, so nothing can be judged there")
        if not (phase.judged and phase.complete and counts["planned"]):
            continue
        driven = counts["seen"] - counts["dropped"]
        planned_in_all, driven_in_all = planned_in_all + counts["planned"], driven_in_all + driven
        if driven < ACHIEVED_RATIO * counts["planned"]:
            problems.append(
                f"in {phase.name} only {driven} of {counts['planned']} planned arrivals were driven"
                f" ({counts['dropped']} dropped)"
            )
    if not planned_in_all:
        facts["achieved_ratio"] = None
        if not evidence.plan.stops:
            return ["no judged phase was driven to its end"]
        facts["achieved_ratio"] = 1.0
        return []
    facts["achieved_ratio"] = driven_in_all / planned_in_all
    return problems


def _half_way(plan: Plan) -> float | None:
    """The middle of what is judged of a run that went to its end."""
    judged = [phase for phase in plan.phases if phase.judged and phase.complete]
    return (judged[0].start_s + judged[-1].end_s) / 2 if judged and plan.status == "completed" else None


def _lag(evidence: Evidence, facts: dict[str, Any]) -> list[str]:
    judged = [phase for phase in evidence.plan.phases if phase.judged]
    inside = [
        one
        for one in evidence.attempts.all
        if any(phase.start_s <= one.at_s < phase.end_s for phase in judged)
    ]
    lags = np.array([one.lag_s for one in inside if one.lag_s is not None])
    latencies = np.array([one.judged_latency_s for one in inside])
    if not len(lags):
        return ["no attempt was started"]
    lag_s, median_s = percentile(lags, 0.99), percentile(latencies, 0.5)
    allowed_s = max(LAG_S, LAG_RATIO * median_s) if math.isfinite(median_s) else LAG_S
    facts["lag_p99_s"], facts["lag_allowed_s"] = lag_s, allowed_s
    allowed = f"allowed is {format_duration(allowed_s)}"
    if lag_s > allowed_s:
        return [f"attempts started late: lag p99 is {format_duration(lag_s)}, {allowed}"]
    return [
        f"attempts of {phase.name} started late: lag p95 is {format_duration(late_s)}, {allowed}"
        for phase in judged
        if (late_s := _lag_of(inside, phase)) > allowed_s
    ]


def _lag_of(attempts: Sequence[Attempt], phase: PlannedPhase) -> float:
    lags = [one.lag_s for one in attempts if phase.start_s <= one.at_s < phase.end_s]
    known = np.array([lag_s for lag_s in lags if lag_s is not None])
    return percentile(known, PHASE_LAG_Q) if len(known) else 0.0


def _generator(evidence: Evidence, facts: dict[str, Any]) -> list[str]:
    problems = []
    expected = (None, 0, TOLD_TO_STOP) if evidence.plan.stops else (None, 0)
    if evidence.plan.status == "completed" and evidence.plan.load_exit_code is None:
        problems.append("nobody knows how the load generator ended")
    if evidence.plan.load_exit_code not in expected:
        problems.append(f"the load generator ended with code {evidence.plan.load_exit_code}")
    seen_s, half_s = evidence.generator_seen_s, _half_way(evidence.plan)
    if half_s is not None and (seen_s is None or seen_s < half_s):
        until = "at all" if seen_s is None else f"after {format_duration(max(0.0, seen_s))}"
        problems.append(f"nobody looked at the load generator's CPU time {until}")
    if evidence.generator_cpu:
        cpu = percentile(np.array(evidence.generator_cpu), 0.95)
        facts["generator_cpu_p95_ratio"] = cpu
        if cpu >= CPU_RATIO:
            problems.append(f"the load generator used {format_ratio(cpu)} of a core (p95)")
    return problems
