"""Time to first token as the user waits for it: from the intended start, streamed answers only.

The service's own `time_to_first_chunk` starts when the request arrives, so it cannot see a queue before
the service. A stream that ended without an answer waited for ever, even if its first token was quick.
"""

from __future__ import annotations

import math

import numpy as np

from slo.evidence import Evidence
from slo.indicators.indicator import Percentile, Samples, register
from slo.plan import PlannedPhase
from slo.segments import JOURNEY


class TimeToFirstToken(Percentile):
    """A percentile of the wait for the first token."""

    segments = frozenset({JOURNEY})

    def samples(self, evidence: Evidence, segment: str, phase: PlannedPhase) -> Samples:  # noqa: ARG002
        """Streamed attempts by intended start."""
        found = [
            one for one in evidence.attempts.all if one.stream and phase.start_s <= one.at_s < phase.end_s
        ]
        waits = [
            one.first_token_s if one.answered and one.first_token_s is not None else math.inf for one in found
        ]
        return Samples(
            np.array([one.at_s for one in found], dtype=np.float64),
            np.array(waits, dtype=np.float64),
            np.array([one.trace_id for one in found], dtype=object),
        )


for _name, _q in (("ttft_p50", 0.50), ("ttft_p95", 0.95), ("ttft_p99", 0.99)):
    register(TimeToFirstToken(_name, _q))
