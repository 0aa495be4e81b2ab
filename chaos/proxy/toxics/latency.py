"""latency: every chunk goes on `latency` ± `jitter` ms after it came in, in order.

The delay counts from when the bytes arrived, so a bulk transfer pays once and not per chunk. A chunk
carries onward the time it came in plus what it waited here, so that two latencies add; as on Toxiproxy,
what it waited behind another chunk is not counted, so that on a steady stream they add to less. The room is
that of Toxiproxy's buffer, 1024 chunks of 32 KiB: with less, a delay would act as a bandwidth limit.
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
    __slots__ = ("_due", "_sent_s")

    def __init__(self, name: str, attributes: Attributes, line: Line) -> None:
        super().__init__(name, attributes, line)
        self._due: deque[float] = deque()  # when each chunk of the queue goes on, or its turn comes
        self._sent_s = 0.0

    def feed(self, chunk: Chunk) -> None:
        due_s = chunk.at_s + self._delay_s() if chunk.data else chunk.at_s
        if not self._due and due_s <= self.line.now_s():
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
        now_s = self.line.now_s()
        while self._due and self._due[0] <= now_s + _TICK_S:
            due_s, chunk = self._due.popleft(), self.release()
            chunk.at_s += due_s - max(chunk.held_s, self._sent_s)
            self._sent_s = now_s
            self.next.feed(chunk)
        if self._due:
            self.call_at(self._due[0], self._fire)
