"""p50, p95 and p99 of how long a segment took; for `journey`, from the intended start."""

from __future__ import annotations

from slo.evidence import Evidence
from slo.indicators.indicator import Percentile, Samples, register
from slo.plan import PlannedPhase


class Latency(Percentile):
    """A percentile of durations in which whatever failed took for ever."""

    def samples(self, evidence: Evidence, segment: str, phase: PlannedPhase) -> Samples:
        """Every span (or attempt) that started in the phase."""
        spans = evidence.spans(segment, phase)
        return Samples(spans.at_s, spans.judged_s, spans.trace_ids)


for _name, _q in (("p50", 0.50), ("p95", 0.95), ("p99", 0.99)):
    register(Latency(_name, _q))
