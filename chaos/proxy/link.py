"""One direction of a connection: from the source's socket through the toxics to the other socket.

Without a toxic there is no chain: `Connection` hands bytes from transport to transport. With one, bytes
become chunks that pass through the stages in the order their toxics were added. The chain is rebuilt
in one step of the event loop, so nothing can slip between an old and a new order.

As on Toxiproxy, toxics begin when the upstream is connected: what a client said before waits before them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from chaos.control.fault_proxy import Toxic
from chaos.proxy.toxics import Chunk, Held, Stage, stage_kinds
from chaos.proxy.toxics.stage import Receiver, Timer

if TYPE_CHECKING:
    from chaos.proxy.connection import Connection
    from chaos.proxy.end import End

_MOST_UNSENT_BYTES = 64 * 1024
_KINDS = stage_kinds()


class Link:
    """From `source` to `sink`, through `stages`."""

    __slots__ = (
        "_behind_bytes",
        "_dropped_bytes",
        "_early",
        "_early_bytes",
        "_is_open",
        "_loop",
        "_stops",
        "connection",
        "ended",
        "head",
        "held",
        "is_cut",
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
        self._early_bytes = 0
        self._dropped_bytes = 0
        self._is_open = False
        self._stops: set[object] = set()
        self.stages: list[Stage] = []
        self.head: Stage | None = None
        self.write: Callable[[bytes], None] = self._keep
        self.source_ended = False
        self.is_cut = False
        """A toxic ended it: the sink is closed, and does not only get the end of the stream."""
        self.ended = False

    def open(self, write: Callable[[bytes], None]) -> None:
        """Both ends are connected: the toxics begin, and what came too early goes first."""
        self._is_open = True
        self.write = write
        self._chain()
        for stage in tuple(self.stages):
            stage.start()
        early, self._early = self._early, []
        for data in early:
            self.receive(data)
        if self.source_ended and not self.ended:
            self._end()
        self.go(self)

    def receive(self, data: bytes) -> None:
        """Bytes from the source, when there is a toxic; without one they go to `write` directly."""
        if self.is_cut:
            self._drop(data)
        elif self.head is not None:
            self.head.feed(Chunk(data, self._loop.time()))
        else:
            self.write(data)

    def receive_end(self) -> None:
        """The source will send no more."""
        if self.source_ended:
            return
        self.source_ended = True
        if self._is_open:
            self._end()

    def feed(self, chunk: Chunk) -> None:
        """What comes out of the last stage goes to the sink."""
        if chunk.data:
            self.write(chunk.data)
            if self.sink in self._stops:  # it has enough already, but the stages' time has come
                self._count_behind(len(chunk.data))
        elif not self.ended:
            self.ended = True
            if self.is_cut:
                self.write = self._drop
            self.connection.link_ended(self)

    def cut(self, by: Stage, with_reset: bool = False) -> None:
        """Nothing more comes out of `by`: what is behind it goes on, and then the connection ends."""
        if by not in self.stages:
            return  # one behind it was quicker
        if not self._is_open:
            self.connection.close()
            return
        reached = self.stages.index(by) + 1
        for stage in self.stages[:reached]:
            stage.discard()
            self.connection.toxic_over(stage)
        del self.stages[:reached]
        self._chain()
        self.is_cut = self.source_ended = True
        if with_reset:
            self.connection.ends_with_reset = True
        by.next.feed(Chunk(b"", self._loop.time()))

    def put_toxic(self, toxic: Toxic, order: Sequence[str]) -> None:
        """Add a toxic, or give it other attributes; its toxicity is drawn anew. `order` is the proxy's."""
        struck = self.rng.random() < toxic.toxicity
        stage = next((each for each in self.stages if each.name == toxic.name), None)
        if stage is not None and struck:
            stage.configure(toxic.attributes)
        elif stage is not None:
            self.take_toxic(toxic.name)
        elif struck and not self.is_cut:
            stage = _KINDS[toxic.type](toxic.name, toxic.attributes, self)
            self.stages.append(stage)
            self.stages.sort(key=lambda each: order.index(each.name))
            self._chain()
            if self._is_open:
                stage.start()

    def take_toxic(self, name: str, closes: bool = False) -> bool:
        """Remove a toxic, if it is here; what it held goes on to the stage behind it, or else the end."""
        for stage in self.stages:
            if stage.name == name:
                if closes:
                    self.cut(stage)
                else:
                    stage.leave()
                if stage in self.stages:  # it is not when it cut the link
                    self.stages.remove(stage)
                    self._chain()
                    self.connection.toxic_left(stage)
                return True
        return False

    def discard(self) -> None:
        """Nobody is left to write to: drop what is held and what still comes."""
        for stage in self.stages:
            stage.discard()
            self.connection.toxic_over(stage)
        self.stages.clear()
        self.head = None
        self._early.clear()
        self.write = self._drop
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

    def _end(self) -> None:
        end = Chunk(b"", self._loop.time())
        if self.head is not None:
            self.head.feed(end)
        else:
            self.feed(end)

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
        self.head = self.stages[0] if self.stages and self._is_open else None

    def _keep(self, data: bytes) -> None:
        """The upstream is not connected yet; a client that is read on is seen when it breaks off."""
        self._early.append(data)
        self._early_bytes += len(data)
        if self._early_bytes > _MOST_UNSENT_BYTES:
            self.stop(self)

    def _drop(self, data: bytes) -> None:
        """Nobody gets these. A few are read all the same, so that their sender sees an end and no reset."""
        self._dropped_bytes += len(data)
        if self._dropped_bytes > _MOST_UNSENT_BYTES:
            self.stop(self)
