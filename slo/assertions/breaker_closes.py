"""The circuit breaker closes again, and stays closed, once its dependency is well.

Measured from the end of the phase to the breaker's last log record; one that closed and opened again has
not closed. A breaker that never opened cannot close, nor can one that was open only before there was a
fault; and one that still turns callers away has not closed, whatever its logs say. A failure shows callers
that were turned away too late.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from slo import verdict
from slo.assertions.assertion import Assertion, register
from slo.assertions.breaker_opens import first_injection_s
from slo.assertions.guarded import turned_away
from slo.evidence import Evidence
from slo.transitions import CLOSED, OPEN, stretches
from slo.units import Duration, format_duration

SETTLED_S = 1.0
"""Whoever is turned away this long after the last log record met a breaker that had opened again."""


@register
class BreakerCloses(Assertion):
    """`breaker` is closed for good no later than `within` after the end of the phase `after`."""

    name: ClassVar[str] = "breaker_closes"
    example: ClassVar[str] = "{breaker: vector_db, within: 30s, after: fault}"
    breaker: str = Field(description="the breaker's name: `vector_db` or `llm`")
    within: Duration = Field(gt=0.0, description="from the phase's end to the breaker's last log record")
    after: str = Field(description="the phase from whose end it counts")

    def check(self, evidence: Evidence) -> verdict.Assertion:
        """A breaker that closed and opened again has not closed."""
        phase = evidence.plan.phase(self.after)
        if phase is None:
            return self.result("inconclusive", f"the run has no phase {self.after!r}")
        found = stretches(evidence.transitions.get(self.breaker, ()))
        if not any(one.state == OPEN for one in found):
            return self.result("inconclusive", f"the breaker {self.breaker} never opened, so it cannot close")
        injected_s = first_injection_s(evidence, self.breaker)
        begun_s = phase.start_s if injected_s is None else min(phase.start_s, injected_s)
        if not any(one.state == OPEN and one.end_s > begun_s for one in found):
            message = f"the breaker {self.breaker} was open only before there was a fault: nothing was tested"
            return self.result("inconclusive", message)
        last = found[-1]
        if last.state != CLOSED:
            if not phase.complete:
                return self.result("inconclusive", f"the run ended before {self.after} did")
            return self.broken(
                evidence,
                f"the breaker {self.breaker} was still {last.state} at the end",
                {"state": last.state, "since_s": last.start_s},
                turned_away(evidence, self.breaker, phase.end_s + self.within),
            )
        took_s = max(0.0, last.start_s - phase.end_s)
        facts = {"closed_s": last.start_s, "took_s": took_s}
        text = f"the breaker {self.breaker} closed {format_duration(took_s)} after the phase {self.after}"
        if took_s <= self.within:
            if turned_away(evidence, self.breaker, last.start_s + SETTLED_S):
                message = f"{text}, as its logs say; yet it turned callers away later: a log record is lost"
                return self.result("inconclusive", message, facts)
            return self.result("pass", text, facts)
        return self.broken(
            evidence,
            f"{text}; allowed is {format_duration(self.within)}",
            facts,
            turned_away(evidence, self.breaker, phase.end_s + self.within),
        )
