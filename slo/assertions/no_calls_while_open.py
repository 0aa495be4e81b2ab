"""While the circuit breaker is open nobody calls what it guards.

An open breaker that still lets calls through protects nobody, and no status code shows it; the spans do.
Calls that were already past the breaker when it opened are no leak, and a half-open breaker may probe.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from slo import verdict
from slo.assertions.assertion import Assertion, register
from slo.evidence import Evidence, SegmentSpans
from slo.transitions import HALF_OPEN, OPEN, stretches

IN_FLIGHT_S = 0.020
"""From the check of the breaker to the start of the call; a call that starts this soon was past it."""
PROBE_LOG_S = 0.005
"""A probe may start this much before the log record that says half-open."""


@register
class NoCallsWhileOpen(Assertion):
    """No guarded span starts while `breaker` is open; half-open, at most `allow_probes` at a time."""

    name: ClassVar[str] = "no_calls_while_open"
    breaker: str
    allow_probes: int = Field(default=1, ge=0)

    def check(self, evidence: Evidence) -> verdict.Assertion:
        """Every open and half-open stretch against the spans of the segment that the breaker guards."""
        segment = evidence.table.behind(self.breaker)
        if segment is None:
            return self.result("inconclusive", f"no segment is guarded by a breaker {self.breaker!r}")
        found = stretches(evidence.transitions.get(self.breaker, ()))
        opened = [one for one in found if one.state == OPEN]
        if not opened:
            return self.result("inconclusive", f"the breaker {self.breaker} never opened: nothing was tested")
        spans = evidence.segments[segment]
        leaked: list[str] = []
        open_s = 0.0
        for one in opened:
            leaked += _traces(spans.between(one.start_s + IN_FLIGHT_S, one.end_s - PROBE_LOG_S))
            open_s += min(one.end_s, evidence.plan.phases[-1].end_s) - one.start_s
        probes = 0
        for one in found:
            if one.state == HALF_OPEN:
                started = _traces(spans.between(one.start_s - PROBE_LOG_S, one.end_s))
                probes += len(started)
                leaked += started[self.allow_probes :]
        facts = {"open_s": open_s, "times_open": len(opened), "probes": probes, "leaked": len(leaked)}
        if leaked:
            message = f"{len(leaked)} {segment} calls were made while the breaker {self.breaker} was open"
            return self.result("fail", message, facts, leaked)
        times = "once" if len(opened) == 1 else f"{len(opened)} times"
        message = f"open {times}, {open_s:.1f} s in all: no {segment} call but {probes} probes"
        return self.result("pass", message, facts)


def _traces(spans: SegmentSpans) -> list[str]:
    return [str(trace) for trace in spans.trace_ids[np.arange(len(spans.trace_ids))]]
