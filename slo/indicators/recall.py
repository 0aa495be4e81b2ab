"""How often the right document was among the first five that an answer cites.

Golden questions know which documents answer them; a hit is any of them among the first five citations.
Answers that gave up on documents count as misses; requests without an answer belong to `good_ratio`.
"""

from __future__ import annotations

import numpy as np

from slo.evidence import Evidence
from slo.indicators.indicator import Ratio, Samples, register
from slo.plan import PlannedPhase
from slo.segments import JOURNEY


class Recall(Ratio):
    """recall@k over the citations that users got."""

    segments = frozenset({"retrieve", JOURNEY})
    bad = 0.0

    def __init__(self, name: str, k: int) -> None:
        self.name, self.k = name, k

    def samples(self, evidence: Evidence, segment: str, phase: PlannedPhase) -> Samples:  # noqa: ARG002
        """Answered attempts of golden questions."""
        found = [
            one
            for one in evidence.attempts.all
            if one.answered and one.relevant and phase.start_s <= one.at_s < phase.end_s
        ]
        hits = [bool(set(one.relevant) & set((one.citations or ())[: self.k])) for one in found]
        return Samples(
            np.array([one.at_s for one in found], dtype=np.float64),
            np.array(hits, dtype=np.float64),
            np.array([one.trace_id for one in found], dtype=object),
        )


register(Recall("recall_at_5", 5))
