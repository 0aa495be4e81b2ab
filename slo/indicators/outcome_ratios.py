"""How answers ended, as shares of everything that arrived, dropped arrivals included.

good = full, degraded or cached; degraded = a declared lesser answer (cached ones too); error = no answer
and no fast refusal; truncated = an answer that broke off. For spans, good means that nothing failed.
"""

from __future__ import annotations

import numpy as np

from slo.attempts import ANSWERED
from slo.evidence import Evidence
from slo.indicators.indicator import Ratio, Samples, register
from slo.plan import PlannedPhase
from slo.segments import JOURNEY


class OutcomeRatio(Ratio):
    """The share of journeys' attempts that ended in one of some outcomes."""

    segments = frozenset({JOURNEY})

    def __init__(self, name: str, outcomes: tuple[str, ...], bad: float = 1.0) -> None:
        self.name, self.outcomes, self.bad = name, outcomes, bad

    def samples(self, evidence: Evidence, segment: str, phase: PlannedPhase) -> Samples:
        """Every arrival of the phase."""
        spans = evidence.spans(segment, phase)
        return Samples(
            spans.at_s,
            np.isin(spans.error_types.astype(str), self.outcomes).astype(np.float64),
            spans.trace_ids,
        )


class FailureRatio(Ratio):
    """The share that failed (or did not), for any segment; for journeys by outcome."""

    def __init__(self, name: str, outcomes: tuple[str, ...], failed: bool) -> None:
        self.name, self.bad = name, 1.0 if failed else 0.0
        self._failed, self._journeys = failed, OutcomeRatio(name, outcomes, self.bad)

    def samples(self, evidence: Evidence, segment: str, phase: PlannedPhase) -> Samples:
        """Every span, or every arrival, of the phase."""
        if segment == JOURNEY:
            return self._journeys.samples(evidence, segment, phase)
        spans = evidence.spans(segment, phase)
        return Samples(spans.at_s, (spans.failed == self._failed).astype(np.float64), spans.trace_ids)


register(FailureRatio("good_ratio", ANSWERED, failed=False))
register(FailureRatio("error_ratio", ("error", "timeout", "truncated", "abandoned", "dropped"), failed=True))
register(OutcomeRatio("degraded_ratio", ("degraded", "cached")))
register(OutcomeRatio("refused_ratio", ("refused",)))
register(OutcomeRatio("truncated_ratio", ("truncated",)))
