"""The run's clock: Unix time that cannot jump.

Attempts, spans and the journal meet on Unix time, but a wall clock that is corrected in mid-run would
bend latencies. So the wall clock is read once and the monotonic clock carries it from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

Sleep = Callable[[float], None]


class Clock(Protocol):
    """Tells Unix time in seconds."""

    def now_s(self) -> float: ...


@dataclass(frozen=True, slots=True)
class SteadyClock:
    """Unix time as of the anchoring, advanced by the monotonic clock."""

    offset_s: float

    @classmethod
    def anchored(cls) -> SteadyClock:
        return cls(offset_s=time.time() - time.monotonic())

    def now_s(self) -> float:
        return time.monotonic() + self.offset_s


def sleep_until(at_s: float, clock: Clock, sleep: Sleep) -> None:
    """Sleep until `at_s` and never wake the caller early.

    gevent's timers count from the time at which its loop last looked, so one sleep can fall short.
    """
    while (left_s := at_s - clock.now_s()) > 0:
        sleep(left_s)
