"""A link whose clock the test moves, so that toxics are tested to the millisecond without waiting."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from itertools import count

import pytest

from chaos.proxy.toxics import Chunk, Held, Stage


class FakeTimer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLine:
    """What a stage sees of its link; also the receiver behind it, which notes what came when."""

    def __init__(self) -> None:
        self.rng = random.Random(1)
        self.held = Held()
        self.time_s = 100.0
        self.came: list[tuple[float, bytes]] = []
        self.closed_at_s: float | None = None
        self.reset_at_s: float | None = None
        self.stopped: set[object] = set()
        self._timers: list[tuple[float, int, FakeTimer, Callable[[], None]]] = []
        self._number = count()

    def now_s(self) -> float:
        return self.time_s

    def call_at(self, when_s: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer()
        heapq.heappush(self._timers, (max(when_s, self.time_s), next(self._number), timer, callback))
        return timer

    def stop(self, by: object) -> None:
        self.stopped.add(by)

    def go(self, by: object) -> None:
        self.stopped.discard(by)

    def cut(self, by: Stage, with_reset: bool = False) -> None:
        by.discard()
        if with_reset:
            self.reset_at_s = self.time_s
        else:
            self.closed_at_s = self.time_s

    def feed(self, chunk: Chunk) -> None:
        self.came.append((round(self.time_s - 100.0, 6), chunk.data))

    def add(self, stage_type: type[Stage], **attributes: int) -> Stage:
        """A stage of this type whose output is noted in `came`."""
        stage = stage_type("it", {**stage_type.defaults, **attributes}, self)
        stage.next = self
        stage.start()
        return stage

    def send(self, stage: Stage, data: bytes) -> None:
        """Data that comes in now; no data is the end."""
        stage.feed(Chunk(data, self.time_s))

    def run_for(self, seconds: float) -> None:
        """Let time pass, and timers with it."""
        until_s = self.time_s + seconds
        while self._timers and self._timers[0][0] <= until_s + 1e-9:
            when_s, _, timer, callback = heapq.heappop(self._timers)
            self.time_s = max(self.time_s, when_s)
            if not timer.cancelled:
                callback()
        self.time_s = until_s

    @property
    def data(self) -> bytes:
        return b"".join(data for _, data in self.came)


@pytest.fixture
def line() -> FakeLine:
    return FakeLine()


@pytest.fixture(scope="session")
def new_line() -> type[FakeLine]:
    """For tests that need a fresh one for each example."""
    return FakeLine
