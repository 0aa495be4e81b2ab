"""slicer: data goes on in pieces of `average_size` ± `size_variation` bytes, `delay` µs after each.

A chunk is halved, a little off the middle, until a piece is at most average + variation. With
0 <= variation < average each cut lies inside its chunk, so pieces are never empty and halving ends;
without that Toxiproxy recurses until it dies, hence the refusal.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import ClassVar

from chaos.proxy.toxics.stage import Attributes, Chunk, Line, Stage


def slice_sizes(length: int, average: int, variation: int, rng: random.Random) -> Iterator[int]:
    """Sizes of the pieces of a chunk of `length` bytes, in order; they sum to `length`."""
    waiting = [length]
    while waiting:
        size = waiting.pop()
        if size - average <= variation:
            yield size
            continue
        cut = size // 2
        if variation > 0:
            cut += rng.randrange(2 * variation) - variation
        waiting.append(size - cut)
        waiting.append(cut)


class Slicer(Stage):
    type = "slicer"
    defaults: ClassVar[dict[str, int]] = {"average_size": 0, "size_variation": 0, "delay": 0}
    __slots__ = ("_pieces", "_sizes")

    def __init__(self, name: str, attributes: Attributes, line: Line) -> None:
        super().__init__(name, attributes, line)
        self._pieces = 0
        self._sizes: Iterator[int] = iter(())

    @classmethod
    def refuse(cls, attributes: Attributes) -> str | None:
        average, variation = attributes["average_size"], attributes["size_variation"]
        if average < 1:
            return f"average_size must be at least 1 byte, not {average}"
        if 0 <= variation < average:
            return None
        return f"size_variation must be in 0..average_size-1, not {variation} with average_size {average}"

    @property
    def note(self) -> str:
        return f"{self._pieces} pieces"

    def feed(self, chunk: Chunk) -> None:
        if not self.queue and self.timer is None and self._leaves_whole(chunk.data):
            self.next.feed(chunk)  # nothing is done to it, so nothing is told of it
            return
        self.hold(chunk)
        if self.timer is None:
            self._fire()

    def configure(self, attributes: Attributes) -> None:
        self._sizes = iter(())
        super().configure(attributes)

    def _leaves_whole(self, data: bytes) -> bool:
        sizes = self.attributes
        most = sizes["average_size"] + sizes["size_variation"]
        return not data or (sizes["delay"] <= 0 and len(data) <= most)

    def _fire(self) -> None:
        self.timer = None
        if not self.queue:
            return
        size = next(self._sizes, 0)
        if not size:
            average, variation = self.attributes["average_size"], self.attributes["size_variation"]
            self._sizes = slice_sizes(len(self.queue[0].data), average, variation, self.line.rng)
            size = next(self._sizes)
        self._pieces += bool(size)
        self.next.feed(self.release(size))
        self.call_at(self.line.now_s() + max(0, self.attributes["delay"]) / 1e6, self._fire)
