"""When a user leaves, the work for them ends, and with it the hold on a slot of the model server.

The user's leaving is the client's word (attempts `abandoned` or `timeout`), the end of the work is the
service's: the span of a generation ends when its connection to the model server is given up. What the model
server does then is not in the traces. Who leaves after the last phase is not judged: the service itself is
about to be stopped. A pass needs somebody who left while a span was under way.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from slo import verdict
from slo.assertions.assertion import Assertion, register
from slo.assertions.one_terminal_event import LEFT, left_waiting
from slo.evidence import Evidence
from slo.units import Duration, format_duration


@register
class SlotsFreedAfterAbandon(Assertion):
    """Every span of a request whose user has left ends within `within`."""

    name: ClassVar[str] = "slots_freed_after_abandon"
    example: ClassVar[str] = "{within: 1s}"
    within: Duration = Field(gt=0.0, description="from the user's leaving to the end of the last span")

    def check(self, evidence: Evidence) -> verdict.Assertion:
        """Those who left before the load ended; afterwards the service itself is stopped."""
        end_s = evidence.plan.phases[-1].end_s
        left = {
            one.trace_id: one.at_s + one.latency_s
            for one in evidence.attempts.all
            if one.outcome in LEFT and one.trace_id and one.latency_s is not None
            and one.at_s + one.latency_s <= end_s
        }  # fmt: skip
        if not left:
            return self.result("inconclusive", "no user left before the answer was whole: nothing was tested")
        spans = self._spans(evidence, left)
        after_s = spans["after_s"]
        late = after_s > self.within
        under_way = {str(trace) for trace in spans["TraceId"][after_s >= 0]}
        unended = evidence.traces.unended(left)
        untold = evidence.traces.untold([one for one in left_waiting(evidence) if one in left])
        slowest_s = float(after_s.max(initial=0.0))
        facts = {
            "left": len(left), "under_way": len(under_way), "late": len(set(spans["TraceId"][late])),
            "unended": len(unended) + untold, "slowest_s": slowest_s,
        }  # fmt: skip
        if late.any():
            order = np.argsort(-after_s[late], kind="stable")
            traces = [str(trace) for trace in spans["TraceId"][late][order]]
            message = (
                f"{facts['late']} of {len(under_way)} requests went on after their user had left, up to "
                f"{format_duration(slowest_s)}; allowed are {format_duration(self.within)}"
            )
            return self.broken(
                evidence, message, facts, traces, {str(span) for span in spans["SpanId"][late]}
            )
        if unended or untold:
            message = (
                f"{len(unended) + untold} requests whose user left have no request span: "
                "it never ended, or was lost"
            )
            return self.result("inconclusive", message, facts)
        if not under_way:
            message = f"{len(left)} users left, none while a span was under way: nothing was tested"
            return self.result("inconclusive", message, facts)
        message = (
            f"{len(under_way)} users left while they were being answered; the last span of the slowest ended "
            f"{format_duration(slowest_s)} later"
        )
        return self.result("pass", message, facts)

    def _spans(self, evidence: Evidence, left: dict[str, float]) -> dict[str, Any]:
        """Their spans, and how long after the leaving each ended."""
        sql = evidence.traces.opened.sql
        evidence.traces.opened.register("leavers", {"TraceId": list(left), "left_s": list(left.values())})
        try:
            return sql.execute(
                "SELECT TraceId, SpanId, (epoch_ns(Timestamp) + Duration) / 1e9 - ? - left_s AS after_s"
                " FROM spans JOIN leavers USING (TraceId) ORDER BY Timestamp, TraceId, SpanId",
                [evidence.traces.t0_s],
            ).fetchnumpy()
        finally:
            sql.unregister("leavers")
