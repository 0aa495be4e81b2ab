"""limit_data: after `bytes` bytes in its direction the connection is closed, the last chunk cut to fit.

The count starts when the toxic joins the connection and survives a change of the limit.
"""

from __future__ import annotations

from typing import ClassVar

from chaos.proxy.toxics.stage import Attributes, Chunk, Line, Stage


class LimitData(Stage):
    type = "limit_data"
    defaults: ClassVar[dict[str, int]] = {"bytes": 0}
    __slots__ = ("_passed",)

    def __init__(self, name: str, attributes: Attributes, line: Line) -> None:
        super().__init__(name, attributes, line)
        self._passed = 0

    def feed(self, chunk: Chunk) -> None:
        if not chunk.data:
            self.next.feed(chunk)
            return
        room = max(0, self.attributes["bytes"] - self._passed)
        if room:
            data = chunk.data[:room]
            self._passed += len(data)
            self.next.feed(Chunk(data, chunk.at_s))
        if room <= len(chunk.data):
            self.strike(len(chunk.data) - room)
            self.line.cut(self)

    @property
    def note(self) -> str:
        return f"closed after {self._passed} bytes"
