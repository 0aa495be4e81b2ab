"""Time as the runner sees it, passed in so that tests decide what time it is.

Phases, faults and arrivals share one clock: Unix time, which journeys and spans use too. Waiting is
done here as well, because a test that waits for real is a test that nobody runs.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What time it is, and waiting."""

    def unix_s(self) -> float:
        """Unix time in seconds: what is written into files."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never jump: what durations and timeouts are measured with."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; returns early when a signal handler raises."""
        ...


class SystemClock:
    """The machine's clocks."""

    def unix_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))
