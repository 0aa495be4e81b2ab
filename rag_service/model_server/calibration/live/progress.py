"""What a calibration is doing, for whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from rag_service.model_server.calibration.live.load import Level

_REDRAW_S = 0.2


class Progress:
    """What it is doing, on standard error; one line that changes where that is a terminal."""

    def __init__(self, to: TextIO, clock: Callable[[], float]) -> None:
        self._to = to
        self._clock = clock
        self._open = False
        self._told_s = clock()

    def say(self, what: str) -> None:
        self.end()
        print(what, file=self._to, flush=True)

    def answers(self, level: Level, count: int) -> None:
        """So many answers of a level are there."""
        last = count == len(level.asks)
        if not last and (not self._to.isatty() or self._clock() - self._told_s < _REDRAW_S):
            return
        self._told_s = self._clock()
        line = f"{level.concurrency:4} at a time: {count} of {len(level.asks)} answers"
        if self._to.isatty():
            print(f"\r{line}", end="", file=self._to, flush=True)
            self._open = True
        else:
            print(line, file=self._to, flush=True)
        if last:
            self.end()

    def end(self) -> None:
        if self._open:
            print(file=self._to, flush=True)
        self._open = False
