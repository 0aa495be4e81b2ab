"""A request asks a dependency a bounded number of times.

Retries that multiply (a retry in each layer, a loop without an end) turn a dependency's bad minute into a
flood, and every user still sees one answer. A pass needs a reason to try again: a call that failed, or one
that was made more than once.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from slo import verdict
from slo.assertions.assertion import MOST_EXAMPLES, Assertion, register
from slo.evidence import Evidence
from slo.segments.selection import SegmentName


@register
class AttemptsPerRequestAtMost(Assertion):
    """No request makes more than `attempts` calls of `segment`, first ones, retries and hedges together."""

    name: ClassVar[str] = "attempts_per_request_at_most"
    example: ClassVar[str] = "{segment: search, attempts: 2}"
    segment: SegmentName = Field(
        description="the segment with one span for each call: `search` or `generate`"
    )
    attempts: int = Field(ge=1, strict=True, description="how many calls, the first included")

    def check(self, evidence: Evidence) -> verdict.Assertion:
        """The spans of the segment, trace by trace."""
        segment = evidence.table.segments[self.segment]
        which, failure = segment.where(), segment.failure()
        grouped = f"""
            SELECT TraceId, count(*) AS calls, bool_or({failure.sql}) AS failed, min(Timestamp) AS began
            FROM spans WHERE {which.sql} GROUP BY TraceId
        """
        parameters = [*failure.parameters, *which.parameters]
        requests, calls, most, tempted, over = evidence.traces.rows(
            "SELECT count(*), coalesce(sum(calls), 0)::BIGINT, coalesce(max(calls), 0),"
            f" count(*) FILTER (failed OR calls > 1), count(*) FILTER (calls > ?) FROM ({grouped})",
            [self.attempts, *parameters],
        )[0]
        facts = {
            "requests": requests,
            "calls": calls,
            "most": most,
            "failed_or_repeated": tempted,
            "over": over,
        }
        if over:
            worst = evidence.traces.rows(
                f"SELECT TraceId FROM ({grouped}) WHERE calls > ?"
                " ORDER BY calls DESC, began, TraceId LIMIT ?",
                [*parameters, self.attempts, MOST_EXAMPLES],
            )
            traces = [str(trace) for (trace,) in worst]
            extra = evidence.traces.rows(
                f"SELECT SpanId FROM spans WHERE TraceId = ? AND {which.sql}"
                " ORDER BY Timestamp, SpanId OFFSET ?",
                [traces[0], *which.parameters, self.attempts],
            )
            message = (
                f"{over} of {requests} requests made more than {self.attempts} {self.segment} calls, "
                f"one of them {most}"
            )
            return self.broken(evidence, message, facts, traces, {str(span) for (span,) in extra})
        if not tempted:
            message = (
                f"no {self.segment} call of {requests} requests failed or was repeated: nothing was tested"
            )
            return self.result("inconclusive", message, facts)
        message = (
            f"of {requests} requests {tempted} had a {self.segment} call that failed or was repeated; "
            f"none made more than {most}"
        )
        return self.result("pass", message, facts)
