"""bandwidth: at most `rate` KB/s (1 KB = 1000 bytes), in pieces of a tenth of a second.

A piece goes on when the time it takes has passed. The time the line is free again is kept as a sum, so
that late timers do not add up; an idle line earns no credit.
"""

from __future__ import annotations

from typing import ClassVar

from chaos.proxy.toxics.stage import Attributes, Chunk, Line, Stage


class Bandwidth(Stage):
    type = "bandwidth"
    defaults: ClassVar[dict[str, int]] = {"rate": 0}
    __slots__ = ("_free_s", "_piece_bytes")

    def __init__(self, name: str, attributes: Attributes, line: Line) -> None:
        super().__init__(name, attributes, line)
        self._free_s = 0.0
        self._piece_bytes = 0

    @classmethod
    def refuse(cls, attributes: Attributes) -> str | None:
        rate = attributes["rate"]
        return (
            None if rate >= 1 else f"rate must be at least 1 KB/s, not {rate}; use timeout to stop all data"
        )

    def feed(self, chunk: Chunk) -> None:
        if not chunk.data and not self.queue:
            self.next.feed(chunk)
            return
        self.hold(chunk)
        if self.timer is None:
            self._free_s = max(self._free_s, self.line.now_s())
            self._send_next()

    def configure(self, attributes: Attributes) -> None:
        self._free_s = 0.0
        super().configure(attributes)

    def _send_next(self) -> None:
        rate = self.attributes["rate"]
        self._piece_bytes = min(len(self.queue[0].data), rate * 100)
        self._free_s += self._piece_bytes / (rate * 1000.0)
        self.call_at(self._free_s, self._fire)

    def _fire(self) -> None:
        self.timer = None
        self.next.feed(self.release(self._piece_bytes))
        if self.queue and not self.queue[0].data:
            self.next.feed(self.release())
        if self.queue:
            self._send_next()
