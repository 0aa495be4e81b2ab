"""A verdict in plain sentences, the most important first: what a person would say who had read it all."""

from __future__ import annotations

from slo.plan import Plan
from slo.reasons import broken_objectives, ended, unmet_gates, what_is_missing, why_failed
from slo.segments import JOURNEY
from slo.transitions import OPEN
from slo.units import format_duration, format_ratio
from slo.verdict import SegmentPhase, Verdict

_OPENING = {
    "pass": "Passed: every objective and assertion held, and the run proved it",
    "warn": "Passed with a warning",
    "fail": "Failed",
    "inconclusive": "Inconclusive",
    "error": "The harness failed, nothing was judged",
}
_MOST = 12
_NOTABLE = 1.5
_FAILED_RATIO = 0.01


def about(verdict: Verdict, plan: Plan) -> tuple[str, ...]:
    """The sentences of a verdict; the first has the reason that matters."""
    reasons = _reasons(verdict, plan)
    opening = _OPENING[verdict.verdict]
    if reasons and verdict.verdict != "pass":
        opening, reasons = f"{opening}: {reasons[0]}", reasons[1:]
    found = [ended(opening), *reasons]
    found += [*_answers(verdict), *_shifts(verdict, plan), *_breakers(verdict), *_recovery(verdict)]
    return tuple(list(dict.fromkeys(found))[:_MOST])  # two faults on one segment shift it once


def _reasons(verdict: Verdict, plan: Plan) -> list[str]:
    """Why the verdict is what it is, the most important first."""
    stops = [
        f"a stop condition ended the run: {stop.get('condition')}, observed {stop.get('observed')}."
        for stop in plan.stops
    ]
    failed = broken_objectives(verdict, plan)
    against = [one for one in verdict.assertions if one.verdict == "fail"]
    unmet = unmet_gates(verdict)
    broken = [f"{one.name} failed in {one.phase}: {ended(one.message)}" for one in failed]
    broken += [f"{one.name} failed: {ended(one.message)}" for one in against]
    missing = [f"{gate.name.capitalize()}: {ended(gate.message)}" for gate in unmet]
    warned = [
        f"{one.name} is close in {one.phase}: {ended(one.message)}"
        for one in verdict.objectives
        if one.verdict == "warn"
    ]
    if verdict.verdict in ("inconclusive", "error"):
        first = [ended(plan.message)] if plan.message else missing[:1]
        if verdict.verdict == "inconclusive":
            first = [what_is_missing(gate, plan) for gate in unmet[:1]]
        return [*first, *stops, *missing[1:], *broken, *warned]
    if failed or against:
        broken[0] = why_failed(failed, against)
    return [*stops, *broken, *missing, *warned]


def _answers(verdict: Verdict) -> list[str]:
    found = []
    for phase in verdict.phases:
        counts = verdict.outcomes.get(phase.name, {})
        total = sum(counts.values()) + phase.dropped
        lesser = counts.get("degraded", 0) + counts.get("cached", 0)
        none = total - lesser - counts.get("full", 0)
        if not phase.judged or not total or not (lesser or none):
            continue
        parts = []
        if lesser:
            parts.append(f"{format_ratio(round(lesser / total, 3))} of answers were degraded and said so")
        if none:
            parts.append(f"{format_ratio(round(none / total, 3))} of users got no answer")
        found.append(f"In {phase.name}, {' and '.join(parts)}.")
    return found


def _shifts(verdict: Verdict, plan: Plan) -> list[str]:
    """How the segment behind each fault, and the journey, moved against the baseline."""
    baseline = plan.baseline
    found = []
    for fault in verdict.faults:
        phases = [phase.name for phase in verdict.phases if fault.name in phase.faults]
        expected = str(fault.expects.get("segment", ""))
        for segment in dict.fromkeys(name for name in (expected, JOURNEY) if name in verdict.segments):
            cells = verdict.segments[segment]
            usual = cells.get(baseline.name) if baseline else None
            slows = "shift_s" in fault.expects
            moved = [(name, cells[name]) for name in phases if name in cells]
            found += [
                text for name, cell in moved if usual and (text := _shift(segment, name, usual, cell, slows))
            ]
    return found


def _shift(segment: str, phase: str, usual: SegmentPhase, cell: SegmentPhase, slows: bool) -> str | None:
    """That a segment moved; that it stayed is worth a word where its fault should have slowed it."""
    before, after = usual.lived_p95_s, cell.lived_p95_s
    if before is None or after is None or before <= 0:
        return None
    failed = cell.error_ratio if segment != JOURNEY and (cell.error_ratio or 0.0) >= _FAILED_RATIO else None
    share = format_ratio(round(failed, 3)) if failed else ""
    if 1 / _NOTABLE < after / before < _NOTABLE:
        if failed:
            return f"{share} of {segment} spans failed in {phase}."
        near = f"{segment.capitalize()} p95 in {phase} stayed near its baseline ({format_duration(after)})."
        return near if slows else None
    verb = "rose" if after > before else "fell"
    times = f"from {format_duration(before)} to {format_duration(after)}"
    cut_off = ", cut off at that time" if slows else ""
    told = f"; {share} of them failed{cut_off}" if failed else ""
    return f"{segment.capitalize()} p95 {verb} {times} in {phase}{told}."


def _breakers(verdict: Verdict) -> list[str]:
    found = []
    for name, transitions in verdict.breakers.items():
        opened = [one.at_s for one in transitions if one.new == OPEN and one.previous != "half_open"]
        injected = [
            fault.injected_s for fault in verdict.faults if fault.on == name and fault.injected_s is not None
        ]
        after = [at_s - min(injected) for at_s in opened if injected and at_s >= min(injected)]
        if after:
            found.append(f"The breaker {name} opened {format_duration(after[0])} after the fault.")
        elif opened:
            found.append(
                f"The breaker {name} opened {len(opened)} times, though its dependency had no fault."
            )
    return found


def _recovery(verdict: Verdict) -> list[str]:
    found = verdict.recovery.get(JOURNEY)
    if found is None or found.value_s is None:
        return []
    time = format_duration(found.value_s)
    if found.censored:
        return [f"Full answers were not back to normal within {time} of the fault's end."]
    return [f"Full answers were back to normal {time} after the fault's end."]
