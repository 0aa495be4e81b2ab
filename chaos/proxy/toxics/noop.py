"""noop: nothing happens; it is there so that a chain with a toxic can be compared to one without."""

from __future__ import annotations

from chaos.proxy.toxics.stage import Chunk, Stage


class Noop(Stage):
    type = "noop"
    __slots__ = ()

    def feed(self, chunk: Chunk) -> None:
        self.next.feed(chunk)
