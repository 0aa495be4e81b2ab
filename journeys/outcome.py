"""How an answer ended, judged from the user's side.

Locust calls a request good once its headers are in; a stream that dies half-way counts as success
there. Here an answer is only what the service claimed (`full`, `degraded`, `cached`) when its terminal
`done` arrived; everything else is the client's own finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

ANSWERED = frozenset({"full", "degraded", "cached"})
"""The outcomes with which a user got an answer."""


class Outcome(StrEnum):
    FULL = "full"
    DEGRADED = "degraded"
    CACHED = "cached"
    REFUSED = "refused"
    ERROR = "error"
    TRUNCATED = "truncated"
    ABANDONED = "abandoned"
    TIMEOUT = "timeout"


class Ending(StrEnum):
    """Why the client stopped reading."""

    FINISHED = "finished"
    """The body ended where HTTP says it ends."""
    CUT = "cut"
    """The connection broke after the status line."""
    UNREACHABLE = "unreachable"
    """No HTTP status was received: the connection failed first."""
    OUT_OF_PATIENCE = "out_of_patience"
    HUNG_UP = "hung_up"
    """The user left before the answer was there."""
    RUN_OVER = "run_over"
    """The time to drain was over while the answer was still under way."""
    RUN_STOPPED = "run_stopped"
    """The whole run was stopped from outside."""


class Terminal(StrEnum):
    """The last word of an answer."""

    DONE = "done"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of one answer; times are Unix time."""

    terminal: Terminal | None = None
    terminal_events: int | None = None
    ended_s: float | None = None
    first_token_s: float | None = None
    largest_gap_s: float | None = None
    tokens: int | None = None
    service_outcome: str | None = None
    degraded: list[Any] | None = None
    citations: list[str] | None = None


def outcome_of(status: int | None, ending: Ending, reading: Reading) -> Outcome:
    """The outcome of an attempt; a terminal event outweighs how the connection ended after it."""
    if reading.terminal is Terminal.DONE:
        try:
            return Outcome(reading.service_outcome or "")
        except ValueError:
            return Outcome.ERROR
    if reading.terminal is Terminal.ERROR:
        return Outcome.ERROR
    if status in (429, 503):
        return Outcome.REFUSED
    if status is not None and not 200 <= status < 300:
        return Outcome.ERROR
    match ending:
        case Ending.UNREACHABLE:
            return Outcome.ERROR
        case Ending.OUT_OF_PATIENCE | Ending.RUN_OVER:
            return Outcome.TIMEOUT
        case Ending.HUNG_UP | Ending.RUN_STOPPED:
            return Outcome.ABANDONED
        case Ending.FINISHED | Ending.CUT:
            return Outcome.TRUNCATED
