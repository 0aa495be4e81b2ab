"""A few Prometheus figures for whoever watches the process without a trace store.

Spans are the evidence; these are the pulse. Written in the text exposition format by hand, because four
families do not need a registry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

_STATES = ("closed", "open", "half_open")


@dataclass(frozen=True, slots=True)
class BreakerReading:
    """One breaker at the moment of reading."""

    name: str
    state: str


@dataclass(slots=True)
class Metrics:
    """Counters of one process, touched only on the event loop."""

    answers: Counter[str] = field(default_factory=Counter)
    degraded: Counter[tuple[str, str]] = field(default_factory=Counter)

    def render(self, *, in_flight: int, breakers: Iterable[BreakerReading]) -> str:
        lines = ["# HELP rag_answers_total Answers by outcome.", "# TYPE rag_answers_total counter"]
        lines += [f'rag_answers_total{{outcome="{name}"}} {n}' for name, n in sorted(self.answers.items())]
        lines += [
            "# HELP rag_degraded_total Degradations by segment and reason.",
            "# TYPE rag_degraded_total counter",
        ]
        lines += [
            f'rag_degraded_total{{segment="{segment}",reason="{reason}"}} {n}'
            for (segment, reason), n in sorted(self.degraded.items())
        ]
        lines += [
            "# HELP rag_in_flight Answers being made.",
            "# TYPE rag_in_flight gauge",
            f"rag_in_flight {in_flight}",
        ]
        lines += [
            "# HELP rag_breaker_state 1 for the state that a breaker is in.",
            "# TYPE rag_breaker_state gauge",
        ]
        lines += [
            f'rag_breaker_state{{name="{breaker.name}",state="{state}"}} {int(breaker.state == state)}'
            for breaker in breakers
            for state in _STATES
        ]
        return "\n".join(lines) + "\n"
