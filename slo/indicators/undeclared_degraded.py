"""The share of answers that lost a leg, their documents or the model, and passed for full ones.

Judged from the traces below the request and from what the client saw, so that a service cannot improve
it by not looking.
"""

from __future__ import annotations

import numpy as np

from slo.evidence import Evidence
from slo.indicators.indicator import Ratio, Samples, register
from slo.plan import PlannedPhase
from slo.segments import JOURNEY


class UndeclaredDegradedRatio(Ratio):
    """Undeclared degradation; for `request` and for `journey` it is the same question."""

    name = "undeclared_degraded_ratio"
    segments = frozenset({"request", JOURNEY})

    def samples(self, evidence: Evidence, segment: str, phase: PlannedPhase) -> Samples:  # noqa: ARG002
        """Every request that started in the phase."""
        found = [one for one in evidence.answers if phase.start_s <= one.at_s < phase.end_s]
        return Samples(
            np.array([one.at_s for one in found], dtype=np.float64),
            np.array([float(one.undeclared) for one in found], dtype=np.float64),
            np.array([one.trace_id for one in found], dtype=object),
        )


register(UndeclaredDegradedRatio())
