"""The circuit breaker opens soon after its dependency goes bad.

Measured from the journal's injection of the first fault on the dependency (of any fault, where none is on
it) to the breaker's own log record. Without an injection nothing should have opened it. One that was open
before the fault was begun has not been opened by it; it can only show that it opens again. A failure shows
the calls that failed when the breaker should have kept them away.
"""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic import Field

from slo import verdict
from slo.assertions.assertion import Assertion, register
from slo.evidence import Evidence
from slo.transitions import OPEN, stretches
from slo.units import Duration, format_duration


@register
class BreakerOpens(Assertion):
    """`breaker` opens no later than `within` after the first fault on its dependency is in."""

    name: ClassVar[str] = "breaker_opens"
    example: ClassVar[str] = "{breaker: vector_db, within: 10s}"
    breaker: str = Field(description="the breaker's name: `vector_db` or `llm`")
    within: Duration = Field(gt=0.0, description="from the injection to the breaker's log record")

    def check(self, evidence: Evidence) -> verdict.Assertion:
        """Measured from the journal's injection to the breaker's own log record."""
        injected_s = first_injection_s(evidence, self.breaker)
        if injected_s is None:
            return self.result("inconclusive", "no fault was injected, so nothing should have opened it")
        found = stretches(evidence.transitions.get(self.breaker, ()))
        opened = [one for one in found if one.state == OPEN and one.end_s > injected_s]
        if not opened:
            return self.broken(
                evidence,
                f"the breaker {self.breaker} never opened",
                {"injected_s": injected_s},
                *self._not_kept_away(evidence, injected_s),
            )
        begun_s = min(injected_s, _first_begun_s(evidence, self.breaker))
        since_s, opened = opened[0].start_s, [one for one in opened if one.start_s >= begun_s]
        was_open = since_s < begun_s
        if was_open and (not opened or opened[0].start_s - injected_s > self.within):
            return self.result(
                "inconclusive",
                f"the breaker {self.breaker} was open already when the fault came: nothing was tested",
                {"injected_s": injected_s, "opened_s": since_s},
            )
        took_s = max(0.0, opened[0].start_s - injected_s)
        facts = {"injected_s": injected_s, "opened_s": opened[0].start_s, "took_s": took_s}
        text = f"the breaker {self.breaker} opened {format_duration(took_s)} after the fault"
        if took_s <= self.within:
            return self.result("pass", text, facts)
        return self.broken(
            evidence,
            f"{text}; allowed is {format_duration(self.within)}",
            facts,
            *self._not_kept_away(evidence, injected_s, opened[0].start_s),
        )

    def _not_kept_away(
        self, evidence: Evidence, injected_s: float, until_s: float = math.inf
    ) -> tuple[list[str], set[str]]:
        """Calls that failed when the breaker should have been open: their traces and spans."""
        segment = evidence.table.behind(self.breaker)
        if segment is None:
            return [], set()
        calls = evidence.segments[segment].between(injected_s + self.within, until_s)
        return [str(one) for one in calls.trace_ids[calls.failed]], set(
            map(str, calls.span_ids[calls.failed])
        )


def _first_begun_s(evidence: Evidence, dependency: str) -> float:
    """When the first fault was begun: it acts before the journal says that it is in."""
    own = [fault for fault in evidence.plan.faults if fault.on == dependency] or evidence.plan.faults
    return min((fault.declared_s for fault in own if fault.declared_s is not None), default=math.inf)


def first_injection_s(evidence: Evidence, dependency: str) -> float | None:
    """When the first fault on a dependency was put in; of any fault where none is on it."""
    known = [fault for fault in evidence.plan.faults if fault.injected_s is not None]
    own = [fault for fault in known if fault.on == dependency] or known
    return min((fault.injected_s for fault in own if fault.injected_s is not None), default=None)
