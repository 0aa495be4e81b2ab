"""A half-open circuit breaker lets a few callers try, not all of them.

A dependency that has just come back is easily pushed over again by everybody who waited for it. Counted are
the spans of guarded calls that met the half-open state, and calls that have no such span above them. A call
counts as over 1 ms before its span ends, which is stamped a moment later. A pass needs a moment in which
the limit was met: somebody who was turned away, or as many at a time as may.
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
    example: ClassVar[str] = "{breaker: vector_db, probes: 3}"
    breaker: str = Field(description="the breaker's name: `vector_db` or `llm`")
    probes: int = Field(ge=1, strict=True, description="how many calls at a time")

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
                f"{seen.most} probes of {self.breaker} were under way at a time, of {self.probes} allowed"
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
            f"allowed, while {seen.rejected} other calls were turned away"
        )
        return self.result("pass", message, facts)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
