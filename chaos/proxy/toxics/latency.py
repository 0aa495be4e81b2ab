"""latency: every chunk goes on `latency` ± `jitter` ms after it came in, in order.

The delay counts from when the bytes arrived, so a bulk transfer pays once and not per chunk. A chunk
carries its new time onward, so that two latencies add. The room is that of Toxiproxy's buffer, 1024
chunks of 32 KiB: with less, a delay would act as a bandwidth limit.
"""

from __future__ import annotations

from collections import deque
from typing import ClassVar

from chaos.proxy.toxics.stage import Attributes, Chunk, Line, Stage

_TICK_S = 0.0005  # event-loop timers count in milliseconds and may fire half of one early


class Latency(Stage):
    type = "latency"
    defaults: ClassVar[Attributes] = {"latency": 0, "jitter": 0}
    room_bytes = 1024 * 32 * 1024
    __slots__ = ("_due",)

    def __init__(self, name: str, attributes: Attributes, line: Line) -> None:
        super().__init__(name, attributes, line)
        self._due: deque[float] = deque()  # when each chunk of the queue goes on

    def feed(self, chunk: Chunk) -> None:
        due_s = chunk.at_s + self._delay_s() if chunk.data else chunk.at_s
        if self._due:
            due_s = max(due_s, self._due[-1])
        elif due_s <= self.line.now_s():
            self.next.feed(chunk)
            return
        self._due.append(due_s)
        self.hold(chunk)
        if self.timer is None:
            self.call_at(due_s, self._fire)

    def take_all(self) -> deque[Chunk]:
        self._due.clear()
        return super().take_all()

    def _delay_s(self) -> float:
        latency, jitter = self.attributes["latency"], self.attributes["jitter"]
        if jitter > 0:
            latency += self.line.rng.randrange(2 * jitter) - jitter
        return float(max(0, latency)) / 1000.0

    def _fire(self) -> None:
        self.timer = None
        until_s = self.line.now_s() + _TICK_S
        while self._due and self._due[0] <= until_s:
            due_s, chunk = self._due.popleft(), self.release()
            self.next.feed(Chunk(chunk.data, due_s))
        if self._due:
            self.call_at(self._due[0], self._fire)
