"""Did each fault bite: do the traces show, on the segment behind it, what was injected?

A fault that was accepted by the proxy and never felt proves nothing about the service. A span that was
cut off by a timeout would have lasted longer, so it counts as bitten; one that was cancelled before the
shift could show says nothing either way and is left out. A call of something that stands still is *held*: it
fails, or lasts until the fault is out. And where no span must show a fault at all (a busy neighbour), the
evidence is what the kernel told whoever took it out.
"""

from __future__ import annotations

import numpy as np

from slo.evidence import Evidence, SegmentSpans
from slo.plan import PlannedFault
from slo.statistics import percentile
from slo.units import format_duration, format_ratio
from slo.verdict import Bite, Gate, Verdicts

SHIFT_RATIO = 0.8
BITTEN_RATIO = 0.8
HELD_SLACK_S = 0.25
"""Between going on and the line in the journal an answer may come; a call in the last instant is no proof."""
MINIMUM_SPANS = 3
"""One slow call can be chance."""
_CUT_OFF = ("timeout", "deadline")
_CANCELLED = ("cancel",)


def check(evidence: Evidence, bites: dict[str, Bite]) -> Gate:
    """Pass when every planned fault bit."""
    facts = {name: {"bitten_ratio": bite.bitten_ratio, "spans": bite.spans} for name, bite in bites.items()}
    toothless = [f"{name}: {bite.message}" for name, bite in bites.items() if bite.verdict != "pass"]
    if toothless:
        return Gate(name="bite", verdict="inconclusive", message="; ".join(toothless), facts=facts)
    if not evidence.plan.faults:
        return Gate(name="bite", verdict="pass", message="no fault was planned", facts=facts)
    message = "; ".join(f"{name}: {bite.message}" for name, bite in bites.items())
    return Gate(name="bite", verdict="pass", message=message, facts=facts)


def bites_of(evidence: Evidence) -> dict[str, Bite]:
    """What the traces say about each fault."""
    return {fault.name: _bite(fault, evidence) for fault in evidence.plan.faults}


def _bite(fault: PlannedFault, evidence: Evidence) -> Bite:
    if fault.injected_s is None:
        return Bite(verdict="inconclusive", message="it was never injected")
    if not fault.expects:
        return Bite(
            verdict="inconclusive",
            message="nothing says how it would show on the traces, so nobody knows whether it bit",
        )
    if fault.expects.get("evidence"):
        return _observed(fault)
    if fault.expects.get("hits"):
        return _hits(fault)
    segment = str(fault.expects.get("segment"))
    if segment not in evidence.segments:
        return Bite(verdict="inconclusive", message=f"it expects to show on {segment!r}, which is no segment")
    start_s = fault.verified_s if fault.verified_s is not None else fault.injected_s
    end_s = fault.removed_s if fault.removed_s is not None else np.inf
    spans = evidence.segments[segment].between(start_s, end_s)
    if "shift_s" in fault.expects:
        return _shift(float(fault.expects["shift_s"]), segment, spans, evidence)
    if fault.expects.get("held"):
        met = evidence.segments[segment].between(start_s, end_s - HELD_SLACK_S)
        held = met.failed | (met.at_s + met.duration_s >= end_s - HELD_SLACK_S)
        return _count(held, f"{segment} spans ended in an error or lasted until it was out")
    return _count(spans.failed, f"{segment} spans ended in an error")


def _observed(fault: PlannedFault) -> Bite:
    if not fault.observed or "bit" not in fault.observed:
        return Bite(verdict="inconclusive", message="nobody saw what it did, so nobody knows whether it bit")
    facts = ", ".join(f"{name} {value}" for name, value in fault.observed.items() if name != "bit")
    if fault.observed["bit"]:
        return Bite(verdict="pass", message=f"the machine shows it: {facts}")
    return Bite(verdict="inconclusive", message=f"the machine does not show that it was felt: {facts}")


def _hits(fault: PlannedFault) -> Bite:
    """Whoever carried the fault out counted the answers on which it acted."""
    hits = (fault.observed or {}).get("hits")
    if not isinstance(hits, int):
        return Bite(verdict="inconclusive", message="nobody counted its hits, so nobody knows whether it bit")
    message = f"it acted on {hits} answers, as was counted where it acted"
    if hits < MINIMUM_SPANS:
        return Bite(verdict="inconclusive", message=f"{message}; at least {MINIMUM_SPANS} must", spans=hits)
    return Bite(verdict="pass", message=message, spans=hits)


def _shift(shift_s: float, segment: str, spans: SegmentSpans, evidence: Evidence) -> Bite:
    baseline = evidence.plan.baseline
    usual = evidence.spans(segment, baseline).duration_s if baseline else np.empty(0)
    if not len(usual):
        return Bite(
            verdict="inconclusive", message=f"there is no {segment} span in the baseline to compare with"
        )
    at_least_s = percentile(usual, 0.5) + SHIFT_RATIO * shift_s
    long = spans.duration_s >= at_least_s
    cut_off = np.array([_is(error, _CUT_OFF) for error in spans.error_types], dtype=np.bool_)
    cancelled = np.array([_is(error, _CANCELLED) for error in spans.error_types], dtype=np.bool_)
    told = long | cut_off | ~cancelled
    return _count(
        (long | cut_off)[told],
        f"{segment} spans lasted at least {format_duration(at_least_s)} or were cut off by a timeout",
    )


def _count(bitten: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], what: str) -> Bite:
    if len(bitten) < MINIMUM_SPANS:
        met = f"only {len(bitten)} spans met it while it was in; at least {MINIMUM_SPANS} must"
        return Bite(verdict="inconclusive", message=met, spans=len(bitten))
    ratio = float(bitten.mean())
    message = f"{format_ratio(ratio)} of {len(bitten)} {what}"
    if ratio < BITTEN_RATIO:
        message += f"; at least {format_ratio(BITTEN_RATIO)} should"
    bit: Verdicts = "pass" if ratio >= BITTEN_RATIO else "inconclusive"
    return Bite(verdict=bit, message=message, bitten_ratio=ratio, spans=len(bitten))


def _is(error_type: str, words: tuple[str, ...]) -> bool:
    return any(word in error_type.lower() for word in words)
