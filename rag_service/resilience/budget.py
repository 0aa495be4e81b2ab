"""How many retries (or hedges) the service as a whole may make: a ratio of its calls, never a count per call.

Retries with a count multiply load exactly when a dependency is weakest. A ratio caps the amplification:
10 % of the calls of the last 10 s, but at least 3 (Envoy: 20 % and 3; Finagle: 20 % over 10 s).

    >>> budget = RetryBudget(ratio=0.1, minimum=1, window_s=10.0, clock=lambda: 0.0)
    >>> budget.call()
    >>> budget.take(), budget.take()
    (True, False)
"""

from __future__ import annotations

import math
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

    @property
    def remaining(self) -> int:
        """Retries that may be taken now."""
        self._evict()
        allowed = max(self._minimum, math.ceil(self._ratio * len(self._calls)))
        return max(0, allowed - len(self._retries))

    def take(self) -> bool:
        """Take one retry if the budget allows it."""
        if self.remaining == 0:
            return False
        self._retries.append(self._clock())
        return True

    def _evict(self) -> None:
        oldest = self._clock() - self._window_s
        for times in (self._calls, self._retries):
            while times and times[0] < oldest:
                times.popleft()
