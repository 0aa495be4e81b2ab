"""Clocks for tests that must not wait."""

from __future__ import annotations


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
