"""How many retries the service as a whole may make: a ratio of its calls, never a count per call.

Retries with a count multiply load exactly when a dependency is weakest. A ratio caps the amplification:
10 % of the calls of the last 10 s, but at least 3 (Envoy: 20 % and 3; Finagle: 20 % over 10 s).
"""

from __future__ import annotations

from collections import deque

from rag_service.resilience.deadline import Clock


class RetryBudget:
    """Counts calls and retries of the last `window_s` seconds."""

    def __init__(self, *, ratio: float, minimum: int, window_s: float, clock: Clock) -> None:
        self._ratio = ratio
        self._minimum = minimum
        self._window_s = window_s
        self._clock = clock
        self._calls: deque[float] = deque()
        self._retries: deque[float] = deque()

    def call(self) -> None:
        """Count a first attempt; it earns `ratio` of a retry."""
        self._calls.append(self._clock())
        self._evict()

    def take(self) -> bool:
        """Take one retry if the budget allows it."""
        self._evict()
        if len(self._retries) >= max(self._minimum, self._ratio * len(self._calls)):
            return False
        self._retries.append(self._clock())
        return True

    def _evict(self) -> None:
        oldest = self._clock() - self._window_s
        for times in (self._calls, self._retries):
            while times and times[0] < oldest:
                times.popleft()
