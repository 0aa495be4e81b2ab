"""Clocks for tests that must not wait, and a wait for what another process must come to."""

from __future__ import annotations

from collections.abc import Callable

from chaos.clock import SystemClock


class SteppingClock:
    """A clock that moves only when somebody sleeps, and then at once."""

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    def unix_s(self) -> float:
        return self.now_s

    def monotonic_s(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def until(condition: Callable[[], bool], what: str, limit_s: float = 30.0) -> None:
    """Wait for what must come; fail with `what` when it does not."""
    clock = SystemClock()
    end_s = clock.monotonic_s() + limit_s
    while not condition():
        assert clock.monotonic_s() < end_s, what
        clock.sleep(0.02)
