"""How long after the last fault a segment was itself again.

The hold rule (reference measurements, section 4c): the first second after which 80 % of the requests of
the next ten seconds are within L = max(baseline p95, 1.1 x baseline median); the time is that of the
first request within L from there on. Only full answers can be
within L, because a latency that is quick with failures and lesser answers is not recovered. A segment
that did not come back while it was watched is censored (`> 35 s`), never a number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slo import statistics
from slo.evidence import Evidence
from slo.indicators.indicator import Estimate, Indicator, register
from slo.plan import PlannedPhase
from slo.segments import JOURNEY
from slo.statistics import Floats, Interval

HOLD_S = 10.0
HOLD_RATIO = 0.8
BUCKET_S = 1.0
MINIMUM_IN_HOLD = 5


@dataclass(frozen=True, slots=True)
class Return:
    """When a signal came back after the fault; when censored, it took longer than `value_s`."""

    value_s: float
    censored: bool
    samples: int


def recovered_after(at_s: Floats, within: npt.NDArray[np.bool_], removed_s: float, end_s: float) -> Return:
    """The hold rule over samples that are within the bound or not."""
    late = at_s >= removed_s
    samples = int(late.sum())
    start_s = removed_s
    while start_s + HOLD_S <= end_s + 1e-9:
        inside = (at_s >= start_s) & (at_s < start_s + HOLD_S)
        held = within[inside]
        if len(held) >= MINIMUM_IN_HOLD and held.mean() >= HOLD_RATIO:
            first_good_s = float(at_s[inside][held].min())
            return Return(first_good_s - removed_s, False, samples)
        start_s += BUCKET_S
    return Return(max(0.0, end_s - HOLD_S - removed_s), True, samples)


class RecoveryTime(Indicator):
    """Time from the removal of the last fault to the return; asked once, of the phase that sees it."""

    name = "recovery_time"
    unit = "s"

    def estimate(self, evidence: Evidence, segment: str, phase: PlannedPhase) -> Estimate | None:
        """The recovery time in the phase that begins with, or contains, the end of the last fault."""
        removed_s, last = evidence.plan.last_removed_s, evidence.plan.phases[-1:]
        if not evidence.plan.faults or phase.name != recovery_phase(evidence):
            return None
        found = recovery_of(evidence, segment)
        if found is None or removed_s is None or not last:
            return Estimate(None, None, 0, MINIMUM_IN_HOLD)
        low = found.value_s if found.censored else max(0.0, found.value_s - BUCKET_S)
        high = np.inf if found.censored else found.value_s + BUCKET_S
        return Estimate(
            found.value_s, Interval(low, high), found.samples, MINIMUM_IN_HOLD, censored=found.censored
        )


def recovery_phase(evidence: Evidence) -> str | None:
    """The first judged phase without faults after the last fault by plan."""
    phases = evidence.plan.phases
    faulty = [index for index, phase in enumerate(phases) if phase.faults]
    after = phases[faulty[-1] + 1 :] if faulty else ()
    return next((phase.name for phase in after if phase.judged), phases[faulty[-1]].name if faulty else None)


def recovery_of(evidence: Evidence, segment: str) -> Return | None:
    """When a segment came back; None when no fault was removed or there is no baseline to come back to."""
    removed_s, baseline = evidence.plan.last_removed_s, evidence.plan.baseline
    if removed_s is None or baseline is None:
        return None
    normal = evidence.spans(segment, baseline)
    usual = normal.judged_s[np.isfinite(normal.judged_s)]
    spans = evidence.segments[segment]
    if len(usual) < MINIMUM_IN_HOLD or not len(spans.at_s):
        return None
    bound = max(statistics.percentile(usual, 0.95), 1.1 * statistics.percentile(usual, 0.5))
    good = ~spans.failed
    if segment == JOURNEY:
        good &= spans.error_types.astype(str) == "full"
    within = good & (spans.duration_s <= bound)
    return recovered_after(spans.at_s, within, removed_s, evidence.plan.phases[-1].end_s)


register(RecoveryTime())
