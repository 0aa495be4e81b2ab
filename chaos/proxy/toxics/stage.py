"""What a toxic is inside the proxy: a stage that chunks pass through on their way to the other end.

Stages are plain callbacks on the event loop's timers, not tasks: a toxic can then join, change or leave
a live connection in one step, with every byte it held handed on in order, and a unit test can drive it
with a clock of its own. A stage is one file in this package; subclassing with a `type` registers it.

A stage that holds more than its room stops the link's source, as Toxiproxy's full channels do. All stages
of a server share one more bound, `Held`: past it each makes do with the room of a small one.

A stage keeps account of what it did (`strike`), because "did it bite" is asked of every connection.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

_KINDS: dict[str, type[Stage]] = {}
_SMALL_ROOM_BYTES = 64 * 1024
_CHUNK_BYTES = 256
"""What a chunk that is held takes beside its bytes: clients may send them one by one."""

Attributes = Mapping[str, Any]
"""Whole numbers in Toxiproxy's units; names, where a toxic has a choice. Checked before they get here."""


@dataclass(slots=True)
class Chunk:
    """Bytes with the time they came in; no bytes means the end of the stream."""

    data: bytes
    at_s: float
    held_by: Stage | None = None
    """The stage that held it last, and since when."""
    held_s: float = 0.0


@dataclass(slots=True)
class Held:
    """What all stages of a server hold together, and what they may."""

    most_bytes: int = 512 * 1024 * 1024
    bytes: int = 0

    def room_bytes(self, asked: int) -> int:
        """How much a stage may hold now that would like `asked`."""
        return asked if self.bytes <= self.most_bytes else min(asked, _SMALL_ROOM_BYTES)


class Timer(Protocol):
    """Something that will happen and can be called off."""

    def cancel(self) -> None: ...


class Receiver(Protocol):
    """What comes after a stage: another stage, or the other end's socket."""

    def feed(self, chunk: Chunk) -> None: ...


class Line(Protocol):
    """What a stage may ask of the link it sits on."""

    rng: random.Random
    held: Held

    def now_s(self) -> float:
        """The event loop's time."""

    def call_at(self, when_s: float, callback: Callable[[], None]) -> Timer:
        """Call back at a time of the event loop; at once, but later than now, when that has passed."""

    def stop(self, by: object) -> None:
        """Read no more from the source until `by` says go."""

    def go(self, by: object) -> None:
        """`by` has room again."""

    def cut(self, by: Stage, with_reset: bool = False) -> None:
        """End the connection, with a TCP reset if asked, once what `by` let go has passed those behind it."""


class Stage(ABC):
    """One toxic on one direction of one connection."""

    type: ClassVar[str] = ""
    defaults: ClassVar[Attributes] = {}
    """Every attribute of the toxic with its default, in the order that the API lists them."""
    room_bytes: ClassVar[int] = _SMALL_ROOM_BYTES
    closes_when_removed: ClassVar[bool] = False

    __slots__ = (
        "attributes",
        "delay_s",
        "first_s",
        "held_bytes",
        "is_full",
        "last_s",
        "line",
        "name",
        "next",
        "queue",
        "struck_bytes",
        "timer",
    )

    def __init__(self, name: str, attributes: Attributes, line: Line) -> None:
        self.name = name
        self.attributes = attributes
        self.line = line
        self.next: Receiver = _NOWHERE
        self.queue: deque[Chunk] = deque()
        self.held_bytes = 0
        self.is_full = False
        self.timer: Timer | None = None
        self.first_s: float | None = None
        self.last_s = 0.0
        self.delay_s = 0.0
        self.struck_bytes = 0

    def __init_subclass__(cls) -> None:
        if cls.type:
            _KINDS[cls.type] = cls

    @classmethod
    def refuse(cls, attributes: Attributes) -> str | None:  # noqa: ARG003 - most take any
        """Why these attributes cannot be; `None` when they can."""
        return None

    def start(self) -> None:  # noqa: B027 - most toxics wait for data
        """Called once the stage is in its place and the connection stands."""

    @abstractmethod
    def feed(self, chunk: Chunk) -> None:
        """Take a chunk and hand it on, now, later, changed or never."""

    @property
    def note(self) -> str:
        """What there is to say of what it did, beside bytes and delay."""
        return ""

    def strike(self, size: int, delay_s: float = 0.0) -> None:
        """Account for something done to `size` bytes, which began `delay_s` ago."""
        now_s = self.line.now_s()
        if self.first_s is None:
            self.first_s = now_s - delay_s
        self.last_s = now_s
        self.struck_bytes += size
        if delay_s > self.delay_s:
            self.delay_s = delay_s

    def configure(self, attributes: Attributes) -> None:
        """Other attributes from now on: the chunk in hand goes on at once, those behind it start anew."""
        waiting = self.take_all()
        self.attributes = attributes
        if waiting:
            self.next.feed(waiting.popleft())
        for chunk in waiting:
            self.feed(chunk)

    def leave(self) -> None:
        """Leave the chain: whatever is held goes on at once."""
        for chunk in self.take_all():
            self.next.feed(chunk)

    def discard(self) -> None:
        """The connection is gone: forget whatever is held."""
        self.take_all()

    def hold(self, chunk: Chunk) -> None:
        """Keep a chunk for later; one that it kept before counts from then, and once."""
        if chunk.held_by is not self:
            chunk.held_by = self
            chunk.held_s = self.line.now_s()
            self.struck_bytes += len(chunk.data)
        self.queue.append(chunk)
        self._count(len(chunk.data) + _CHUNK_BYTES)
        if self.held_bytes > _SMALL_ROOM_BYTES and self.held_bytes > self._room_bytes():
            self.is_full = True
            self.line.stop(self)

    def release(self, size: int | None = None) -> Chunk:
        """The oldest chunk, or its first `size` bytes."""
        head = self.queue[0]
        if size is not None and size < len(head.data):
            self.queue[0] = Chunk(head.data[size:], head.at_s, self, head.held_s)
            head = Chunk(head.data[:size], head.at_s, self, head.held_s)
            self._count(-size)
        else:
            self.queue.popleft()
            self._count(-len(head.data) - _CHUNK_BYTES)
        self._strike_held(head)
        if self.is_full and self.held_bytes <= self._room_bytes() // 2:
            self.is_full = False
            self.line.go(self)
        return head

    def call_at(self, when_s: float, callback: Callable[[], None]) -> None:
        """Set the one timer of this stage."""
        self.timer = self.line.call_at(when_s, callback)

    def take_all(self) -> deque[Chunk]:
        """Everything held, which is then held no more; the timer is off."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        taken, self.queue = self.queue, deque()
        self._count(-self.held_bytes)
        for chunk in taken:
            self._strike_held(chunk)
        if self.is_full:
            self.is_full = False
            self.line.go(self)
        return taken

    def _strike_held(self, chunk: Chunk) -> None:
        """It has been held until now; its bytes were counted when that began."""
        self.last_s = self.line.now_s()
        if self.first_s is None:
            self.first_s = chunk.held_s
        if self.last_s - chunk.held_s > self.delay_s:
            self.delay_s = self.last_s - chunk.held_s

    def _room_bytes(self) -> int:
        return self.line.held.room_bytes(self.room_bytes)

    def _count(self, size: int) -> None:
        self.held_bytes += size
        self.line.held.bytes += size


class _Nowhere:
    def feed(self, chunk: Chunk) -> None:
        raise RuntimeError(f"{chunk} was fed to a stage that is in no chain")


_NOWHERE = _Nowhere()


def stage_kinds() -> Mapping[str, type[Stage]]:
    """Every type of toxic by name; importing the files of this package registers them."""
    from chaos.proxy import toxics

    for module in pkgutil.iter_modules(toxics.__path__, f"{toxics.__name__}."):
        importlib.import_module(module.name)
    return _KINDS
