"""While the circuit breaker is open nobody calls what it guards.

An open breaker that still lets calls through protects nobody, and no status code shows it; the spans do. A
call that starts within 20 ms of the opening had passed the breaker already, and one within 5 ms before the
breaker says half-open is the probe that makes it so. A pass needs somebody who asked something while it was
open.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from slo import verdict
from slo.assertions.assertion import Assertion, register
from slo.assertions.guarded import PROBE_LOG_S, probes_of
from slo.evidence import Evidence
from slo.segments import JOURNEY
from slo.transitions import OPEN, stretches

IN_FLIGHT_S = 0.020
"""From the check of the breaker to the start of the call; a call that starts this soon was past it."""


@register
class NoCallsWhileOpen(Assertion):
    """No call that `breaker` guards starts while it is open; half open, at most `allow_probes` at a time."""

    name: ClassVar[str] = "no_calls_while_open"
    example: ClassVar[str] = "{breaker: vector_db, allow_probes: 3}"
    breaker: str = Field(description="the breaker's name: `vector_db` or `llm`")
    allow_probes: int = Field(
        default=1, ge=0, strict=True, description="how many calls at a time while it is half open"
    )

    def check(self, evidence: Evidence) -> verdict.Assertion:
        """Every open and half-open stretch against the spans of the segment that the breaker guards."""
        segment = evidence.table.behind(self.breaker)
        if segment is None:
            return self.result("inconclusive", f"no segment is guarded by a breaker {self.breaker!r}")
        found = stretches(evidence.transitions.get(self.breaker, ()))
        opened = [one for one in found if one.state == OPEN]
        if not opened:
            return self.result("inconclusive", f"the breaker {self.breaker} never opened: nothing was tested")
        leaked: list[tuple[str, str]] = []
        open_s, came = 0.0, 0
        for one in opened:
            calls = evidence.segments[segment].between(one.start_s + IN_FLIGHT_S, one.end_s - PROBE_LOG_S)
            leaked += zip(map(str, calls.trace_ids), map(str, calls.span_ids), strict=True)
            came += len(evidence.segments[JOURNEY].between(one.start_s, one.end_s).at_s)
            open_s += min(one.end_s, evidence.plan.phases[-1].end_s) - one.start_s
        probes = probes_of(evidence, self.breaker, segment)
        leaked += probes.beyond(self.allow_probes)
        facts = {
            "open_s": open_s, "times_open": len(opened), "probes": probes.count, "leaked": len(leaked)
        }  # fmt: skip
        if leaked:
            message = f"{len(leaked)} {segment} calls were made while the breaker {self.breaker} was open"
            return self.broken(
                evidence, message, facts, [trace for trace, _ in leaked], {span for _, span in leaked}
            )
        if not came:
            message = f"nobody asked anything while the breaker {self.breaker} was open: nothing was tested"
            return self.result("inconclusive", message, facts)
        times = "once" if len(opened) == 1 else f"{len(opened)} times"
        message = f"open {times}, {open_s:.1f} s in all: no {segment} call but {probes.count} probes"
        return self.result("pass", message, facts)
