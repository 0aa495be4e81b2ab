"""The tables of a verdict: every segment in every phase, outcomes, breakers, recovery.

Nothing is judged here, so phases that are not judged (a warm-up) stand in the tables as well.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from slo import statistics, verdict
from slo.attempts import OUTCOMES
from slo.evidence import Evidence, Floats
from slo.indicators.indicator import seed_of
from slo.indicators.recovery_time import recovery_of
from slo.plan import PlannedPhase
from slo.segments import JOURNEY
from slo.transitions import CLOSED, OPEN, stretches


def phases(evidence: Evidence) -> tuple[verdict.Phase, ...]:
    """The phases with what happened in them."""
    found = []
    for phase in evidence.plan.phases:
        inside = [one for one in evidence.attempts.all if phase.start_s <= one.at_s < phase.end_s]
        dropped = sum(one.dropped for one in inside)
        found.append(
            verdict.Phase(
                name=phase.name,
                start_s=phase.start_s,
                end_s=phase.end_s,
                rate_per_s=phase.rate_per_s,
                rate_told=phase.rate_told,
                faults=phase.faults,
                judged=phase.judged,
                arrivals=phase.arrivals,
                attempts=len(inside) - dropped,
                dropped=dropped,
            )
        )
    return tuple(found)


def faults(evidence: Evidence, bites: dict[str, verdict.Bite]) -> tuple[verdict.Fault, ...]:
    """The faults with their bites."""
    return tuple(
        verdict.Fault(
            name=fault.name,
            on=fault.on,
            kind=fault.kind,
            parameters=fault.parameters,
            injected_s=fault.injected_s,
            removed_s=fault.removed_s,
            expects=fault.expects or {},
            bite=bites[fault.name],
        )
        for fault in evidence.plan.faults
    )


def segments(evidence: Evidence) -> dict[str, dict[str, verdict.SegmentPhase]]:
    """Every segment in every phase."""
    return {
        name: {phase.name: _cell(evidence, name, phase) for phase in evidence.plan.phases}
        for name in evidence.segments
    }


def outcomes(evidence: Evidence) -> dict[str, dict[str, int]]:
    """How the attempts of each phase ended."""
    found = {}
    for phase in evidence.plan.phases:
        counts = Counter(
            one.outcome
            for one in evidence.attempts.all
            if not one.dropped and phase.start_s <= one.at_s < phase.end_s
        )
        known = {name: counts.pop(name, 0) for name in OUTCOMES}
        found[phase.name] = known | dict(sorted(counts.items()))
    return found


def breakers(evidence: Evidence) -> dict[str, tuple[verdict.BreakerTransition, ...]]:
    """Every transition of every breaker."""
    return {
        name: tuple(
            verdict.BreakerTransition(at_s=one.at_s, previous=one.previous, new=one.new, cause=one.cause)
            for one in transitions
        )
        for name, transitions in evidence.transitions.items()
    }


def recovery(evidence: Evidence) -> dict[str, verdict.Recovery]:
    """Time from the end of the last fault to the return of each segment and the closing of each breaker."""
    removed_s = evidence.plan.last_removed_s
    if removed_s is None:
        return {}
    found = {}
    for name in evidence.segments:
        back = recovery_of(evidence, name)
        if back is not None:
            found[name] = verdict.Recovery(value_s=back.value_s, censored=back.censored)
    end_s = evidence.plan.phases[-1].end_s
    for name, transitions in evidence.transitions.items():
        states = stretches(transitions)
        if any(one.state == OPEN for one in states):
            closed = states[-1].state == CLOSED
            until_s = states[-1].start_s if closed else end_s
            found[f"breaker {name}"] = verdict.Recovery(
                value_s=max(0.0, until_s - removed_s), censored=not closed
            )
    return found


def _cell(evidence: Evidence, segment: str, phase: PlannedPhase) -> verdict.SegmentPhase:
    spans = evidence.spans(segment, phase)
    count, errors = len(spans.at_s), int(spans.failed.sum())
    if not count:
        return verdict.SegmentPhase(count=0, errors=0)
    judged_s, lived_s = spans.judged_s, spans.duration_s[np.isfinite(spans.duration_s)]
    spread = statistics.bootstrap_percentile(
        spans.at_s, judged_s, 0.95, phase.start_s, phase.span_s, seed_of(segment, "p95", phase.name)
    )
    return verdict.SegmentPhase(
        count=count,
        errors=errors,
        error_ratio=errors / count,
        p50_s=_percentile(judged_s, 0.50),
        p95_s=_percentile(judged_s, 0.95),
        p99_s=_percentile(judged_s, 0.99),
        p95_interval_s=(spread.interval.low, spread.interval.high),
        lived_p50_s=_percentile(lived_s, 0.50),
        lived_p95_s=_percentile(lived_s, 0.95),
        ttft_p95_s=_ttft(evidence, phase) if segment == JOURNEY else None,
        rate_per_s=count / phase.span_s,
    )


def _ttft(evidence: Evidence, phase: PlannedPhase) -> float | None:
    waits = [
        one.first_token_s if one.answered and one.first_token_s is not None else np.inf
        for one in evidence.attempts.all
        if one.stream and phase.start_s <= one.at_s < phase.end_s
    ]
    return _percentile(np.array(waits, dtype=np.float64), 0.95)


def _percentile(values: Floats, q: float) -> float | None:
    return statistics.percentile(values, q) if len(values) else None
