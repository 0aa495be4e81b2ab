"""What the users of a run saw: the lines of attempts.jsonl, typed.

The clients' view is kept apart from the spans on purpose: a service that believes that it answered in
full and a user who got half an answer are both right, and the difference is a finding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from slo.bundle import JsonLines

ANSWERED = ("full", "degraded", "cached")
OUTCOMES = ("full", "degraded", "cached", "refused", "error", "truncated", "abandoned", "timeout")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request of a journey, or an arrival that was dropped before it could make one."""

    trace_id: str | None
    span_id: str | None
    journey: str | None
    arrival: int | None
    step: int
    phase: str | None
    at_s: float
    """The intended start, as an offset from t0."""
    lag_s: float | None
    latency_s: float | None
    """From the intended start to the end, however it ended."""
    first_token_s: float | None
    """From the intended start to the first token."""
    status: int | None
    outcome: str
    dropped: bool
    stream: bool
    terminal_events: int | None
    """How many events that end a stream arrived; None where nothing was streamed."""
    citations: tuple[str, ...] | None
    relevant: tuple[str, ...]

    @property
    def answered(self) -> bool:
        """The user got a whole answer, be it a declared degraded one."""
        return self.outcome in ANSWERED

    @property
    def judged_latency_s(self) -> float:
        """The latency that statistics use: whoever got no answer waited for ever."""
        return self.latency_s if self.answered and self.latency_s is not None else math.inf


@dataclass(frozen=True, slots=True)
class Attempts:
    """All attempts in order of their intended start, and the number of lines that could not be read."""

    all: tuple[Attempt, ...]
    torn: int


def read_attempts(lines: JsonLines, t0_s: float | None) -> Attempts:
    """The attempts of a run. A line without an intended start cannot be placed and counts as torn."""
    found = []
    torn = lines.torn
    for line in lines.records:
        if not isinstance(line.get("intended_start_s"), int | float):
            torn += 1
            continue
        found.append(_attempt(line, t0_s if t0_s is not None else 0.0))
    found.sort(key=lambda attempt: (attempt.at_s, attempt.trace_id or ""))
    return Attempts(tuple(found), torn)


def _attempt(line: dict[str, Any], t0_s: float) -> Attempt:
    intended = float(line["intended_start_s"])
    dropped = bool(line.get("dropped"))
    citations = line.get("citations")
    return Attempt(
        trace_id=line.get("trace_id"),
        span_id=line.get("span_id"),
        journey=line.get("journey"),
        arrival=line.get("arrival"),
        step=int(line.get("step") or 0),
        phase=line.get("phase"),
        at_s=intended - t0_s,
        lag_s=_since(line.get("start_s"), intended),
        latency_s=_since(line.get("end_s"), intended),
        first_token_s=_since(line.get("first_token_s"), intended),
        status=line.get("status"),
        outcome="dropped" if dropped else str(line.get("outcome") or "error"),
        dropped=dropped,
        stream=bool(line.get("stream")),
        terminal_events=line.get("terminal_events"),
        citations=None if citations is None else tuple(_citation(item) for item in citations),
        relevant=tuple(str(item) for item in line.get("relevant") or ()),
    )


def _citation(item: object) -> str:
    return str(item.get("id")) if isinstance(item, dict) else str(item)


def _since(at_s: object, intended: float) -> float | None:
    return float(at_s) - intended if isinstance(at_s, int | float) else None
