"""A half-open circuit breaker lets a few callers try, not all of them.

A dependency that has just come back is easily pushed over again by everybody who waited for it. A pass needs
a moment in which more callers came than may probe: without one the limit was never asked for.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from slo import verdict
from slo.assertions.assertion import Assertion, register
from slo.assertions.guarded import probes_of
from slo.evidence import Evidence


@register
class HalfOpenProbesAtMost(Assertion):
    """While `breaker` is half open, no more than `probes` calls are under way at a time."""

    name: ClassVar[str] = "half_open_probes_at_most"
    breaker: str = Field(description="the breaker's name: `vector_db` or `llm`")
    probes: int = Field(ge=1, description="how many calls at a time")

    def check(self, evidence: Evidence) -> verdict.Assertion:
        """Each half-open stretch by itself: a probe of an earlier one may still hang in the next."""
        segment = evidence.table.behind(self.breaker)
        if segment is None:
            return self.result("inconclusive", f"no segment is guarded by a breaker {self.breaker!r}")
        seen = probes_of(evidence, self.breaker, segment)
        if not seen.stretches:
            return self.result("inconclusive", f"the breaker {self.breaker} was never half open")
        facts = {
            "times_half_open": len(seen.stretches),
            "probes": seen.count,
            "most_at_a_time": seen.most,
            "turned_away": seen.rejected,
        }
        beyond = seen.beyond(self.probes)
        if beyond:
            message = (
                f"{seen.most} probes of {self.breaker} were under way at a time; allowed are {self.probes}"
            )
            return self.broken(
                evidence, message, facts, [trace for trace, _ in beyond], {span for _, span in beyond}
            )
        if not seen.rejected and seen.most < self.probes:
            message = (
                f"half open, {self.breaker} was asked by {seen.most} at a time and turned nobody away: "
                "nothing was tested"
            )
            return self.result("inconclusive", message, facts)
        message = (
            f"half open {_times(len(seen.stretches))}: at most {seen.most} probes at a time of {self.probes} "
            f"allowed, and {seen.rejected} callers were turned away"
        )
        return self.result("pass", message, facts)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
