"""Every stream ends in exactly one terminal event, so that nobody has to guess whether the text was whole.

Judged by what the users received (`terminal_events` in attempts.jsonl), in all phases, judged or not: a
service that believes it said `done` to a closed socket has told nobody. Users who left before the end could
not see one. A pass needs a stream that was read to its end.
"""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from slo import verdict
from slo.assertions.assertion import Assertion, register
from slo.attempts import Attempt
from slo.evidence import Evidence

LEFT = ("abandoned", "timeout")
TAKEN_S = 1.0
"""Whoever waited this long had reached the service, however busy it was."""


@register
class OneTerminalEvent(Assertion):
    """Each stream whose reader stayed ends in one `done` or one `error`, not in none and not in two."""

    name: ClassVar[str] = "one_terminal_event"
    example: ClassVar[str] = "{}"

    def check(self, evidence: Evidence) -> verdict.Assertion:
        """All streams of the run, in all phases, judged or not."""
        streams = [one for one in evidence.attempts.all if _is_read_to_its_end(one)]
        counts = Counter(one.terminal_events for one in streams)
        wrong = [one for one in streams if one.terminal_events != 1]
        facts = {
            "streams": len(streams),
            "without": counts[0],
            "with_several": len(wrong) - counts[0],
            "left": sum(one.terminal_events is not None for one in evidence.attempts.all) - len(streams),
            "ended_in_error": sum(one.outcome == "error" for one in streams),
        }
        if wrong:
            message = (
                f"of {len(streams)} streams {counts[0]} ended without a terminal event "
                f"and {len(wrong) - counts[0]} had more than one"
            )
            requests = evidence.segments.get("request")
            traces = [one.trace_id for one in wrong if one.trace_id]
            marked = (
                {str(span) for span in requests.span_ids[requests.trace_ids == traces[0]]}
                if requests is not None and traces
                else set()
            )
            return self.broken(evidence, message, facts, traces, marked)
        if not streams:
            return self.result("inconclusive", "no stream was read to its end: nothing was tested", facts)
        message = f"each of {len(streams)} streams had one terminal event, {facts['ended_in_error']} an error"
        return self.result("pass", message, facts)


def left_waiting(evidence: Evidence) -> list[str]:
    """The traces of users who left after a while, from whom the service had surely taken their question."""
    return [
        one.trace_id
        for one in evidence.attempts.all
        if one.outcome in LEFT and one.trace_id and one.latency_s is not None
        and one.latency_s - (one.lag_s or 0.0) >= TAKEN_S
    ]  # fmt: skip


def _is_read_to_its_end(one: Attempt) -> bool:
    """A stream had begun, and its reader was there when it ended."""
    return one.terminal_events is not None and one.outcome not in LEFT
