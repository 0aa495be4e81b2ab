"""An event loop with real sockets whose time jumps: when no socket is ready, it is the next timer's turn."""

from __future__ import annotations

import asyncio
import selectors


class VirtualClock:
    """Monotonic seconds that pass in timers, or when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                return super().select(1.0)  # only another thread can wake the loop now
            self._clock.advance(timeout)
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """Waiting costs nothing."""

    def __init__(self, clock: VirtualClock | None = None) -> None:
        self.virtual_clock = clock or VirtualClock()
        super().__init__(_JumpingSelector(self.virtual_clock))

    def time(self) -> float:
        return self.virtual_clock.now
