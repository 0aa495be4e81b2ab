"""Did each fault bite: do the traces show, on the segment behind it, what was injected?

A fault that was accepted by the proxy and never felt proves nothing about the service. A span that was cut
off by a timeout would have lasted longer, so it counts as bitten; one that was cancelled before the shift
could show says nothing either way and is left out. A call of something that stands still is *held*: it fails,
or lasts until the fault is out. A fault that flaps or is on a ramp is looked at in the stretches in which it
was in, each for what it expected then; a span that its removal let go early says nothing either. What was
usual before the first fault proves nothing: errors and timeouts where most calls ended so, a delay that the
load alone had caused. And where no span must show a fault at all (a busy neighbour, a narrow pipe), the
evidence is what the kernel or the fault proxy told whoever took it out; when those say that it was not felt,
no span can prove otherwise.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from slo.evidence import Evidence, SegmentSpans
from slo.plan import PlannedFault, Stretch
from slo.statistics import percentile
from slo.units import format_duration, format_ratio
from slo.verdict import Bite, Gate, Verdicts

Flags = npt.NDArray[np.bool_]

SHIFT_RATIO = 0.8
BITTEN_RATIO = 0.8
HELD_SLACK_S = 0.25
"""Between going on and the line in the journal an answer may come; a call in the last instant is no proof."""
USUALLY_FAILED_RATIO = 0.5
"""With more errors than that in the baseline they say nothing about a fault; some users always hang up."""
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
    if fault.expects.get("hits"):
        return _hits(fault)
    if fault.expects.get("evidence") or _was_denied(fault):
        return _observed(fault)
    segment = str(fault.expects.get("segment"))
    if segment not in evidence.segments:
        return Bite(verdict="inconclusive", message=f"it expects to show on {segment!r}, which is no segment")
    spans = evidence.segments[segment]
    if "shift_s" in fault.expects:
        return _shift(fault, segment, spans, evidence)
    if not _before(segment, evidence):
        return Bite(verdict="inconclusive", message=f"no {segment} span before it shows how they usually end")
    if (usually := _usually_failed(segment, evidence)) > USUALLY_FAILED_RATIO:
        told = (
            f"{format_ratio(usually)} of the {segment} spans of the baseline failed, so errors prove nothing"
        )
        return Bite(verdict="inconclusive", message=told)
    if fault.expects.get("held"):
        held = [_held(spans, start_s, end_s) for start_s, end_s in fault.turns]
        return _count(np.concatenate(held), f"{segment} spans ended in an error or lasted until it was out")
    failed = [spans.between(start_s, end_s).failed for start_s, end_s in fault.turns]
    return _count(np.concatenate(failed), f"{segment} spans ended in an error")


def _held(spans: SegmentSpans, start_s: float, end_s: float) -> Flags:
    met = spans.between(start_s, end_s - HELD_SLACK_S)
    return met.failed | (met.at_s + met.duration_s >= end_s - HELD_SLACK_S)


def _before(segment: str, evidence: Evidence) -> list[SegmentSpans]:
    """The spans of each phase before any fault was in, that of the baseline among them."""
    first_s = min((f.injected_s for f in evidence.plan.faults if f.injected_s is not None), default=math.inf)
    baseline = evidence.plan.baseline
    phases = [one for one in evidence.plan.phases if one.judged and not one.faults and one.end_s <= first_s]
    found = [evidence.spans(segment, one) for one in phases]
    if baseline is not None and baseline not in phases:
        found.append(evidence.spans(segment, baseline))
    return [spans for spans in found if len(spans.at_s)]


def _usually_failed(segment: str, evidence: Evidence) -> float:
    return max((float(spans.failed.mean()) for spans in _before(segment, evidence)), default=0.0)


def _was_denied(fault: PlannedFault) -> bool:
    """Whoever took it out saw too often that it did nothing, whatever the spans show."""
    bits = [bool(seen["bit"]) for seen in fault.observed if "bit" in seen]
    return bool(bits) and sum(bits) < BITTEN_RATIO * len(bits)


def _observed(fault: PlannedFault) -> Bite:
    bits = [bool(seen["bit"]) for seen in fault.observed if "bit" in seen]
    if not bits:
        why = next((f": {seen['unknown']}" for seen in fault.observed if "unknown" in seen), "")
        told = f"nobody saw what it did, so nobody knows whether it bit{why}"
        return Bite(verdict="inconclusive", message=told)
    seen = fault.observed[-1]
    facts = ", ".join(
        _fact(name, seen[name]) for name in seen if name != "bit" and not name.endswith("_at_s")
    )
    if len(bits) > 1:
        facts = f"{sum(bits)} times of {len(bits)}; the last time {facts}"
    if sum(bits) >= BITTEN_RATIO * len(bits):
        return Bite(verdict="pass", message=f"it was seen where it acted: {facts}")
    return Bite(verdict="inconclusive", message=f"it was watched where it acted, and not felt: {facts}")


def _fact(name: str, value: Any) -> str:
    if name.endswith("_s") and isinstance(value, int | float):
        name, value = name.removesuffix("_s"), format_duration(value)
    return f"{name.replace('_', ' ')} {value}"


def _hits(fault: PlannedFault) -> Bite:
    """Whoever carried the fault out counted the answers on which it acted."""
    counts = [seen["hits"] for seen in fault.observed if isinstance(seen.get("hits"), int)]
    hits = sum(counts)
    if not counts:
        return Bite(verdict="inconclusive", message="nobody counted its hits, so nobody knows whether it bit")
    message = f"it acted on {hits} answers, as was counted where it acted"
    needed = min(MINIMUM_SPANS, int(fault.parameters.get("count", MINIMUM_SPANS)))
    if hits < needed:
        named = " and ".join(
            f"{key} {fault.parameters[key]}" for key in ("path", "method") if key in fault.parameters
        )
        doubt = f"; does any request have its {named}?" if named and not hits else ""
        return Bite(verdict="inconclusive", message=f"{message}; at least {needed} must{doubt}", spans=hits)
    return Bite(verdict="pass", message=message, spans=hits)


def _shift(fault: PlannedFault, segment: str, spans: SegmentSpans, evidence: Evidence) -> Bite:
    before = _before(segment, evidence)
    if not before:
        return Bite(
            verdict="inconclusive", message=f"there is no {segment} span in the baseline to compare with"
        )
    usual_s = max(percentile(one.duration_s, 0.5) for one in before)
    cut_off_tells = max(float(_cut_off(one).mean()) for one in before) <= USUALLY_FAILED_RATIO
    asked = [
        (stretch, usual_s + SHIFT_RATIO * shift_s)
        for stretch, shift_s in zip(fault.stretches, _surely(fault), strict=True)
        if shift_s > 0
    ]
    shifted = [_shifted(spans, stretch, at_least_s, cut_off_tells) for stretch, at_least_s in asked]
    bounds_s = [at_least_s for _, at_least_s in asked] or [usual_s]
    words = " to ".join(dict.fromkeys(map(format_duration, (min(bounds_s), max(bounds_s)))))
    cut_off = "or were cut off by a timeout" if cut_off_tells else "(timeouts were usual and prove nothing)"
    return _count(
        np.concatenate([np.empty(0, dtype=np.bool_), *shifted]),
        f"{segment} spans lasted at least {words} {cut_off}",
    )


def _surely(fault: PlannedFault) -> list[float]:
    """The shift of each stretch; a span may reach into the next step, so the smaller one of both."""
    shifts = [float((stretch.expects or {}).get("shift_s", 0.0)) for stretch in fault.stretches]
    return [
        shift_s if stretch.removed or index + 1 == len(shifts) else min(shift_s, shifts[index + 1])
        for index, (stretch, shift_s) in enumerate(zip(fault.stretches, shifts, strict=True))
    ]


def _shifted(spans: SegmentSpans, stretch: Stretch, at_least_s: float, cut_off_tells: bool) -> Flags:
    """Of the spans that tell something: whether each was shifted."""
    met = spans.between(stretch.start_s, stretch.end_s)
    long = met.duration_s >= at_least_s
    cut_off = _cut_off(met) & cut_off_tells
    silent = np.array([_is(error, _CANCELLED) for error in met.error_types], dtype=np.bool_)
    if stretch.removed:
        silent |= met.at_s + met.duration_s >= stretch.end_s
    return (long | cut_off)[long | cut_off | ~silent]


def _count(bitten: Flags, what: str) -> Bite:
    if len(bitten) < MINIMUM_SPANS:
        met = f"only {len(bitten)} spans met it while it was in; at least {MINIMUM_SPANS} must"
        return Bite(verdict="inconclusive", message=met, spans=len(bitten))
    ratio = float(bitten.mean())
    message = f"{format_ratio(ratio)} of {len(bitten)} {what}"
    if ratio < BITTEN_RATIO:
        message += f"; at least {format_ratio(BITTEN_RATIO)} should"
    bit: Verdicts = "pass" if ratio >= BITTEN_RATIO else "inconclusive"
    return Bite(verdict=bit, message=message, bitten_ratio=ratio, spans=len(bitten))


def _cut_off(spans: SegmentSpans) -> Flags:
    return np.array([_is(error, _CUT_OFF) for error in spans.error_types], dtype=np.bool_)


def _is(error_type: str, words: tuple[str, ...]) -> bool:
    return any(word in error_type.lower() for word in words)
