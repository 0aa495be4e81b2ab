"""timeout: all data vanishes; after `timeout` ms without any, the connection is closed (0: never).

Steady data therefore keeps the connection open for ever. Removing the toxic closes every connection of
its direction, also those that toxicity spared, as Toxiproxy does: a protocol that lost bytes cannot go on.
"""

from __future__ import annotations

from typing import ClassVar

from chaos.proxy.toxics.stage import Attributes, Chunk, Line, Stage


class Timeout(Stage):
    type = "timeout"
    defaults: ClassVar[dict[str, int]] = {"timeout": 0}
    closes_when_removed = True
    __slots__ = ("_closed",)

    def __init__(self, name: str, attributes: Attributes, line: Line) -> None:
        super().__init__(name, attributes, line)
        self._closed = False

    def start(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.attributes["timeout"] > 0:
            self.call_at(self.line.now_s() + self.attributes["timeout"] / 1000.0, self._close)

    def feed(self, chunk: Chunk) -> None:
        if chunk.data:
            self.strike(len(chunk.data))
            self.start()
        else:
            self.next.feed(chunk)

    def configure(self, attributes: Attributes) -> None:
        super().configure(attributes)
        self.start()

    @property
    def note(self) -> str:
        return "dropped, then closed" if self._closed else "dropped"

    def _close(self) -> None:
        self._closed = True
        self.strike(0, self.attributes["timeout"] / 1000.0)
        self.line.cut(self)
