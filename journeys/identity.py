"""Who an attempt is, in every process that sees it.

Trace and span id are hashed from the attempt's place in the run, so that any stored span can be joined
to its attempt with no shared state, and the same run id gives the same ids. The sampled flag is always
set: a spike of which only a tenth is traced proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Identity:
    """One attempt's place in a run; `arrival`, `step` and `attempt` count from 1."""

    run_id: str
    journey: str
    arrival: int
    step: int
    attempt: int

    @property
    def trace_id(self) -> str:
        return self._digest("attempt")[:32]

    @property
    def span_id(self) -> str:
        return self._digest("attempt")[32:48]

    @property
    def session_id(self) -> str:
        """The same for all steps of one user's journey."""
        return _hash("session", self.run_id, self.journey, str(self.arrival))[:32]

    @property
    def traceparent(self) -> str:
        """W3C Trace Context, version 00, sampled."""
        digest = self._digest("attempt")
        return f"00-{digest[:32]}-{digest[32:48]}-01"

    def baggage(self, phase: str | None) -> str:
        """W3C Baggage; outside every phase the phase is left out."""
        members = {
            "ragquake.run": self.run_id,
            "ragquake.phase": phase,
            "ragquake.journey": self.journey,
            "ragquake.attempt": f"{self.arrival}.{self.step}.{self.attempt}",
        }
        return ",".join(f"{key}={quote(value, safe='')}" for key, value in members.items() if value)

    def _digest(self, purpose: str) -> str:
        place = (self.journey, str(self.arrival), str(self.step), str(self.attempt))
        return _hash(purpose, self.run_id, *place)


def _hash(*parts: str) -> str:
    return sha256("\x1f".join(parts).encode()).hexdigest()
