"""One direction of a connection: from the source's socket through the toxics to the other socket.

Without a toxic there is no chain: `Connection` hands bytes from transport to transport. With one, bytes
become chunks that pass through the stages in the order their toxics were added. The chain is rebuilt
in one step of the event loop, so nothing can slip between an old and a new order.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from chaos.fault_proxy import Toxic
from chaos.proxy.toxics import Chunk, Held, Stage, stage_kinds
from chaos.proxy.toxics.stage import Receiver, Timer

if TYPE_CHECKING:
    from chaos.proxy.connection import Connection, End

_EARLY_BYTES = 64 * 1024
_KINDS = stage_kinds()


class Link:
    """From `source` to `sink`, through `stages`."""

    __slots__ = (
        "_behind_bytes",
        "_early",
        "_loop",
        "_stops",
        "connection",
        "ended",
        "head",
        "held",
        "rng",
        "sink",
        "source",
        "source_ended",
        "stages",
        "write",
    )

    def __init__(
        self,
        connection: Connection,
        source: End,
        sink: End,
        loop: asyncio.AbstractEventLoop,
        rng: random.Random,
        held: Held,
    ) -> None:
        self.connection = connection
        self.held = held
        self.source = source
        self.sink = sink
        self.rng = rng
        self._loop = loop
        self._behind_bytes = 0
        self._early: list[bytes] = []
        self._stops: set[object] = set()
        self.stages: list[Stage] = []
        self.head: Stage | None = None
        self.write: Callable[[bytes], None] = self._keep
        self.source_ended = False
        self.ended = False

    def receive(self, data: bytes) -> None:
        """Bytes from the source, when there is a toxic; without one they go to `write` directly."""
        if self.head is not None:
            self.head.feed(Chunk(data, self._loop.time()))
        else:
            self.write(data)

    def receive_end(self) -> None:
        """The source will send no more."""
        if self.source_ended:
            return
        self.source_ended = True
        end = Chunk(b"", self._loop.time())
        if self.head is not None:
            self.head.feed(end)
        else:
            self.feed(end)

    def feed(self, chunk: Chunk) -> None:
        """What comes out of the last stage goes to the sink."""
        if chunk.data:
            self.write(chunk.data)
            if self.sink in self._stops:  # it has enough already, but the stages' time has come
                self._count_behind(len(chunk.data))
        elif not self.ended:
            self.ended = True
            self.connection.link_ended(self)

    def sink_ready(self, write: Callable[[bytes], None]) -> None:
        """The other end is connected: what came too early goes first."""
        self.write = write
        for data in self._early:
            write(data)
        self._early.clear()
        self.go(self)

    def put_toxic(self, toxic: Toxic, order: Sequence[str]) -> None:
        """Add a toxic, or give it other attributes; its toxicity is drawn anew. `order` is the proxy's."""
        struck = self.rng.random() < toxic.toxicity
        stage = next((each for each in self.stages if each.name == toxic.name), None)
        if stage is not None and struck:
            stage.configure(toxic.attributes)
        elif stage is not None:
            self.take_toxic(toxic.name)
        elif struck:
            stage = _KINDS[toxic.type](toxic.name, toxic.attributes, self)
            self.stages.append(stage)
            self.stages.sort(key=lambda each: order.index(each.name))
            self._chain()
            stage.start()

    def take_toxic(self, name: str) -> None:
        """Remove a toxic; what it held goes on to the stage behind it."""
        for stage in self.stages:
            if stage.name == name:
                self.stages.remove(stage)
                self._chain()
                stage.leave()
                self.connection.toxic_left(stage)
                return

    def discard(self) -> None:
        """Nobody is left to write to: drop what is held and what still comes."""
        for stage in self.stages:
            stage.discard()
            self.connection.toxic_over(stage)
        self.stages.clear()
        self.head = None
        self._early.clear()
        self.write = _nothing
        self.ended = True
        self._count_behind(-self._behind_bytes)

    def stop(self, by: object) -> None:
        if not self._stops:
            self.source.pause()
        self._stops.add(by)

    def go(self, by: object) -> None:
        if by in self._stops:
            self._stops.remove(by)
            if by is self.sink:
                self._count_behind(-self._behind_bytes)
            if not self._stops:
                self.source.resume()

    @property
    def stopped(self) -> bool:
        """Whether the source is not to be read."""
        return bool(self._stops)

    def now_s(self) -> float:
        return self._loop.time()

    def call_at(self, when_s: float, callback: Callable[[], None]) -> Timer:
        if when_s <= self._loop.time():
            return self._loop.call_soon(callback)
        return self._loop.call_at(when_s, callback)

    def close(self) -> None:
        self.connection.close()

    def reset(self) -> None:
        self.connection.reset()

    def _count_behind(self, size: int) -> None:
        """Bytes that a stage let go and the sink has not taken: still held, by its socket's buffer."""
        self._behind_bytes += size
        self.held.bytes += size

    def _chain(self) -> None:
        """Each stage feeds the one after it, the last one this link; a removed stage keeps its next."""
        after: Receiver = self
        for stage in reversed(self.stages):
            stage.next = after
            after = stage
        self.head = self.stages[0] if self.stages else None

    def _keep(self, data: bytes) -> None:
        """The sink is not connected yet; a source that is read on is seen when it breaks off."""
        self._early.append(data)
        if sum(map(len, self._early)) > _EARLY_BYTES:
            self.stop(self)


def _nothing(data: bytes) -> None:
    """Where bytes go that nobody will read."""
