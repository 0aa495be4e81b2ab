"""Nobody works on a request whose caller has stopped waiting.

The deadline stands on the request span (`rag.deadline`, seconds from its start). A quarter of a second more
is allowed by itself: the service's last word to a reader that stalls may take 0.15 s, the rest is for a
busy event loop. A pass needs a request that came within half a second of its deadline (of a shorter
patience, half of it): work that is always done in time is stopped by nothing.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from slo import verdict
from slo.assertions.assertion import MOST_EXAMPLES, Assertion, register
from slo.assertions.one_terminal_event import left_waiting
from slo.evidence import Evidence
from slo.units import Duration, format_duration

ALLOWED_S = 0.25
"""The service's last word to a reader that stalls may take 0.15 s; the rest is for a busy event loop."""
NEAR_S = 0.5
"""A request this near its deadline was cut by it: twice what the service keeps back for a fallback (0.25 s).
Of a patience shorter than twice that it is half."""
DEADLINE = "rag.deadline"


@register
class NoSpanOutlivesDeadline(Assertion):
    """No span of a request ends later than its deadline and `allow`."""

    name: ClassVar[str] = "no_span_outlives_deadline"
    example: ClassVar[str] = "{allow: 250ms}"
    allow: Duration = Field(ALLOWED_S, ge=0.0, description="how much later a span may end")

    def check(self, evidence: Evidence) -> verdict.Assertion:
        """Every span of every trace whose request says until when its caller waits."""
        request = evidence.table.segments.get("request")
        if request is None:
            return self.result(
                "inconclusive", "no segment is called request, and only that says the deadline"
            )
        which, asked = request.where(), evidence.traces.rows
        due = f"""
            due AS (
                SELECT TraceId, max(start_ns + patience_ns) AS due_ns, min(patience_ns) AS patience_ns
                FROM (
                    SELECT TraceId, epoch_ns(Timestamp) AS start_ns,
                           (TRY_CAST(SpanAttributes['{DEADLINE}'] AS DOUBLE) * 1e9)::BIGINT AS patience_ns
                    FROM spans WHERE {which.sql}
                ) WHERE patience_ns IS NOT NULL GROUP BY TraceId
            ),
            ended AS (
                SELECT TraceId, SpanId, epoch_ns(Timestamp) + Duration - due_ns AS late_ns, patience_ns
                FROM spans JOIN due USING (TraceId)
            ),
            traces AS (
                SELECT TraceId, max(late_ns) AS late_ns, min(patience_ns) AS patience_ns
                FROM ended GROUP BY TraceId
            )
        """
        allowed_ns, near_ns = round(self.allow * 1e9), round(NEAR_S * 1e9)
        requests, met, over, latest_ns = asked(
            f"WITH {due} SELECT count(*), count(*) FILTER (late_ns >= -least(?, patience_ns // 2)),"
            " count(*) FILTER (late_ns > ?), coalesce(max(late_ns), 0) FROM traces",
            [*which.parameters, near_ns, allowed_ns],
        )[0]
        facts = {"requests": requests, "met_their_deadline": met, "over": over, "latest_s": latest_ns / 1e9}
        if over:
            worst = asked(
                f"WITH {due} SELECT TraceId FROM traces WHERE late_ns > ?"
                " ORDER BY late_ns DESC, TraceId LIMIT ?",
                [*which.parameters, allowed_ns, MOST_EXAMPLES],
            )
            traces = [str(trace) for (trace,) in worst]
            late = asked(
                f"WITH {due} SELECT SpanId FROM ended WHERE TraceId = ? AND late_ns > ?",
                [*which.parameters, traces[0], allowed_ns],
            )
            message = (
                f"{over} of {requests} requests were worked on after their deadline, up to "
                f"{format_duration(latest_ns / 1e9)}; allowed are {format_duration(self.allow)}"
            )
            return self.broken(evidence, message, facts, traces, {str(span) for (span,) in late})
        if not requests:
            return self.result("inconclusive", f"no request span has a deadline ({DEADLINE})", facts)
        unended = evidence.traces.unended([one.trace_id for one in evidence.attempts.all if one.trace_id])
        if unended:
            message = (
                f"{len(unended)} requests have spans, and no request span: they never ended, or it was lost"
            )
            return self.result("inconclusive", message, facts | {"unended": len(unended)})
        if untold := evidence.traces.untold(left_waiting(evidence)):
            message = f"{untold} users waited in vain and their requests have no span: nothing of them ended"
            return self.result("inconclusive", message, facts | {"unended": untold})
        if not met:
            message = (
                f"none of {requests} requests came near its deadline: nothing was tested; "
                "a shorter `load.patience` or a longer fault would"
            )
            return self.result("inconclusive", message, facts)
        end = f"{format_duration(abs(latest_ns) / 1e9)} {'after' if latest_ns > 0 else 'before'} its deadline"
        message = f"{met} of {requests} requests met their deadline; the last span of all ended {end}"
        return self.result("pass", message, facts)
