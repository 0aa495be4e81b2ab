"""slow_close: data passes; the end of the stream passes `delay` ms late."""

from __future__ import annotations

from typing import ClassVar

from chaos.proxy.toxics.stage import Attributes, Chunk, Stage


class SlowClose(Stage):
    type = "slow_close"
    defaults: ClassVar[dict[str, int]] = {"delay": 0}
    __slots__ = ()

    def feed(self, chunk: Chunk) -> None:
        if chunk.data:
            self.next.feed(chunk)
            return
        if self.queue:
            return  # a toxic before this one can cut what has ended already
        self.hold(chunk)
        self.call_at(self.line.now_s() + max(0, self.attributes["delay"]) / 1000.0, self._fire)

    def configure(self, attributes: Attributes) -> None:
        """An end that is held waits anew."""
        waiting = self.take_all()
        self.attributes = attributes
        for end in waiting:
            self.feed(end)

    def _fire(self) -> None:
        self.timer = None
        self.next.feed(self.release())
