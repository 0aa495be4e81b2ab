"""Arrivals and good answers per second; goodput that falls while the rate rises is a collapse."""

from __future__ import annotations

import numpy as np

from slo import statistics
from slo.evidence import Evidence
from slo.indicators.indicator import Estimate, Indicator, register, seed_of
from slo.plan import PlannedPhase

MINIMUM_SAMPLES = 20


class PerSecond(Indicator):
    """Events per second of a phase, all of them or the good ones."""

    unit = "per_s"

    def __init__(self, name: str, good_only: bool) -> None:
        self.name, self.good_only = name, good_only

    def estimate(self, evidence: Evidence, segment: str, phase: PlannedPhase) -> Estimate:
        """The rate over the whole phase."""
        spans = evidence.spans(segment, phase)
        keep = ~spans.failed if self.good_only else np.ones(len(spans.at_s), np.bool_)
        at_s = spans.at_s[keep]
        if len(spans.at_s) == 0:
            return Estimate(None, None, 0, MINIMUM_SAMPLES)
        seed = seed_of(segment, self.name, phase.name)
        spread = statistics.bootstrap_rate(at_s, phase.start_s, phase.span_s, seed)
        return Estimate(
            len(at_s) / phase.span_s,
            spread.interval,
            len(spans.at_s),
            MINIMUM_SAMPLES,
            replicates=spread.replicates,
        )


register(PerSecond("rate", good_only=False))
register(PerSecond("goodput", good_only=True))
