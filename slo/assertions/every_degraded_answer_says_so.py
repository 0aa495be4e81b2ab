"""No answer loses its retrieval, its documents or its model and still calls itself full.

What was lost is read from the spans, what was said from the request span and from the client, in all
phases, judged or not. Where a fault was planned and no answer lost anything, nothing was tested. Without a
fault there is nothing to lose, and the rule holds, provided that answers can be followed at all.
"""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from slo import verdict
from slo.assertions.assertion import Assertion, register
from slo.evidence import Evidence


@register
class EveryDegradedAnswerSaysSo(Assertion):
    """Every answer whose trace lost something is labelled, in all phases, judged or not."""

    name: ClassVar[str] = "every_degraded_answer_says_so"
    example: ClassVar[str] = "{}"

    def check(self, evidence: Evidence) -> verdict.Assertion:
        """What the spans lost against what service and client called it."""
        lost = [one for one in evidence.answers if one.degraded]
        silent = [one for one in lost if one.undeclared]
        kinds = Counter(part for one in lost for part in one.lost)
        facts = {"degraded": len(lost), "undeclared": len(silent), "lost": dict(sorted(kinds.items()))}
        if silent:
            message = f"{len(silent)} of {len(lost)} answers that lost something called themselves full"
            return self.broken(evidence, message, facts, [one.trace_id for one in silent])
        if not evidence.answers:
            return self.result("inconclusive", "no answer can be followed in spans: nothing was seen", facts)
        if not lost and not evidence.plan.faults:
            return self.result("pass", "no answer lost anything, and no fault was planned", facts)
        if not lost:
            return self.result("inconclusive", "no answer lost anything: nothing was tested", facts)
        return self.result("pass", f"all {len(lost)} answers that lost something said so", facts)
