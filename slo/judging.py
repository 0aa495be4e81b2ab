"""One objective, one phase, one judgement.

The whole interval must be good for a pass and the whole interval bad for a failure; anything between is
undecided, and no data is never a pass. An exact target (`= 0%`) is judged by what was counted, because no
interval is ever exactly zero wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from slo import statistics, verdict
from slo.evidence import Evidence
from slo.indicators import Estimate
from slo.objectives import Objective
from slo.plan import PlannedPhase
from slo.statistics import Interval
from slo.target import Target, format_value

MINIMUM_FOR_EXACT = 30
"""An exact share needs this many samples: none of 30 still leaves room for 11 %."""
LONGEST_MORE_S = 3600.0

Reason = Literal["decided", "no_data", "few_samples", "undecided"]


@dataclass(frozen=True, slots=True)
class Judged:
    """A judgement, why it is none, and how much more load would make it one."""

    record: verdict.Objective
    reason: Reason
    more_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Decision:
    verdict: verdict.Verdicts
    reason: Reason
    because: str
    more_s: float | None = None


def judge(objective: Objective, evidence: Evidence) -> tuple[Judged, ...]:
    """The objective in every judged phase in which it holds and its question arises."""
    found = []
    for phase in evidence.plan.phases:
        target = objective.target_in(phase.name)
        if not phase.judged or target is None:
            continue
        if target.relative and phase == evidence.plan.baseline:
            continue
        estimate = objective.measured_by.estimate(evidence, objective.segment, phase)
        if estimate is not None:
            found.append(_judge_phase(objective, target, phase, estimate, evidence))
    return tuple(found)


def _judge_phase(
    objective: Objective, target: Target, phase: PlannedPhase, estimate: Estimate, evidence: Evidence
) -> Judged:
    compared = _against_baseline(objective, estimate, evidence) if target.relative else estimate
    decision = _decide(objective, target, compared, phase)
    unit = objective.measured_by.unit
    interval = estimate.interval
    return Judged(
        verdict.Objective(
            name=objective.name,
            segment=objective.segment,
            indicator=objective.indicator,
            phase=phase.name,
            target=target.text,
            warn=objective.warn,
            value=estimate.value,
            interval=(interval.low, interval.high) if interval else (None, None),
            samples=estimate.samples,
            unit=unit,
            verdict=decision.verdict,
            message=f"{_seen(estimate, unit)}; {decision.because}",
            exemplars=() if decision.verdict == "pass" else estimate.exemplars,
        ),
        decision.reason,
        decision.more_s,
    )


def _decide(objective: Objective, target: Target, seen: Estimate, phase: PlannedPhase) -> _Decision:
    wanted = f"target {target.text}"
    if seen.value is None or seen.interval is None:
        return _Decision("inconclusive", "no_data", f"{wanted} cannot be judged without data")
    good = target.meets(seen.value)
    if target.operator == "=":
        return _decide_exact(objective, target, seen, phase)
    if not seen.enough:
        more_s = _until(seen.samples, seen.needed, phase)
        return _Decision(
            "inconclusive", "few_samples", f"{wanted} needs {seen.needed} samples{_more(more_s)}", more_s
        )
    if target.meets_whole(seen.interval):
        return _passed(objective, seen.interval, f"{wanted} is met by the whole interval")
    if target.misses_whole(seen.interval):
        return _Decision("fail", "decided", f"{wanted} is missed by the whole interval")
    more_s = _until_decided(target, seen, phase)
    if seen.censored:
        because = f"{wanted} is open: it was watched for no longer than that{_more(more_s)}"
        return _Decision("inconclusive", "undecided", because, more_s)
    side = "met" if good else "missed"
    because = f"{wanted} is {side}, but the interval reaches over it{_more(more_s)}"
    if objective.warn and good:
        return _Decision("warn", "decided", because)
    return _Decision("inconclusive", "undecided", because, more_s)


def _decide_exact(objective: Objective, target: Target, seen: Estimate, phase: PlannedPhase) -> _Decision:
    value = seen.value if seen.value is not None else math.nan
    wanted = f"target {target.text}, judged by what was counted,"
    if not target.meets(value):
        return _Decision("fail", "decided", f"{wanted} is missed")
    if seen.samples < MINIMUM_FOR_EXACT:
        more_s = _until(seen.samples, MINIMUM_FOR_EXACT, phase)
        because = f"{wanted} needs {MINIMUM_FOR_EXACT} samples{_more(more_s)}"
        return _Decision("inconclusive", "few_samples", because, more_s)
    return _passed(objective, Interval(value, value), f"{wanted} is met")


def _passed(objective: Objective, interval: Interval, because: str) -> _Decision:
    warning = objective.warning
    if warning is not None and not warning.relative and not warning.meets_whole(interval):
        return _Decision("warn", "decided", f"{because}, the warning level {warning.text} is not")
    return _Decision("pass", "decided", because)


def _against_baseline(objective: Objective, estimate: Estimate, evidence: Evidence) -> Estimate:
    nothing = Estimate(None, None, estimate.samples, estimate.needed)
    phase = evidence.plan.baseline
    usual = objective.measured_by.estimate(evidence, objective.segment, phase) if phase else None
    if usual is None or not usual.value or not math.isfinite(usual.value) or estimate.value is None:
        return nothing
    if usual.replicates is None or estimate.replicates is None:
        return nothing
    spread = statistics.ratio_of(
        estimate.replicates, np.where(usual.replicates > 0, usual.replicates, np.nan)
    )
    return Estimate(
        estimate.value / usual.value,
        spread.interval,
        min(estimate.samples, usual.samples),
        estimate.needed,
        estimate.exemplars,
    )


def _seen(estimate: Estimate, unit: str) -> str:
    if estimate.value is None or estimate.interval is None:
        return "nothing was seen"
    if estimate.censored:
        return f"not back after {format_value(estimate.value, unit)} of watching"
    low, high = (format_value(end, unit) for end in (estimate.interval.low, estimate.interval.high))
    return f"{format_value(estimate.value, unit)} ({low} to {high}, {estimate.samples} samples)"


def _until(samples: int, needed: int, phase: PlannedPhase) -> float | None:
    return math.ceil((needed - samples) * phase.span_s / samples) if samples else None


def _until_decided(target: Target, seen: Estimate, phase: PlannedPhase) -> float | None:
    """An interval shrinks with the square root of the time."""
    if seen.value is None or seen.interval is None or seen.censored:
        return None
    bound = 1.0 + target.bound if target.relative else target.bound
    gap, width = abs(seen.value - bound), max(seen.interval.high - seen.value, seen.value - seen.interval.low)
    if not math.isfinite(width) or gap <= 0 or math.isnan(width):
        return None
    return math.ceil(phase.span_s * max(0.0, (width / gap) ** 2 - 1.0)) or 1


def _more(more_s: float | None) -> str:
    if more_s is None:
        return ""
    if more_s > LONGEST_MORE_S:
        return "; more than an hour of further load would be needed to decide"
    return f"; about {more_s:.0f} s more of this phase would decide"
