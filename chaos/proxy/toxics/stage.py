"""What a toxic is inside the proxy: a stage that chunks pass through on their way to the other end.

Stages are plain callbacks on the event loop's timers, not tasks: a toxic can then join, change or leave
a live connection in one step, with every byte it held handed on in order, and a unit test can drive it
with a clock of its own. A stage is one file in this package; subclassing with a `type` registers it.

A stage that holds more than its room stops the link's source, as Toxiproxy's full channels do.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

_KINDS: dict[str, type[Stage]] = {}


@dataclass(slots=True)
class Chunk:
    """Bytes with the time they came in; no bytes means the end of the stream."""

    data: bytes
    at_s: float


class Timer(Protocol):
    """Something that will happen and can be called off."""

    def cancel(self) -> None: ...


class Receiver(Protocol):
    """What comes after a stage: another stage, or the other end's socket."""

    def feed(self, chunk: Chunk) -> None: ...


class Line(Protocol):
    """What a stage may ask of the link it sits on."""

    rng: random.Random

    def now_s(self) -> float:
        """The event loop's time."""

    def call_at(self, when_s: float, callback: Callable[[], None]) -> Timer:
        """Call back at a time of the event loop; at once, but later than now, when that has passed."""

    def stop(self, by: object) -> None:
        """Read no more from the source until `by` says go."""

    def go(self, by: object) -> None:
        """`by` has room again."""

    def close(self) -> None:
        """End the connection, both ways, once what was written is sent."""

    def reset(self) -> None:
        """End the connection with a TCP reset, both ways."""


class Stage(ABC):
    """One toxic on one direction of one connection."""

    type: ClassVar[str] = ""
    defaults: ClassVar[Mapping[str, int]] = {}
    """Every attribute of the toxic with its default, in the order that the API lists them."""
    room_bytes: ClassVar[int] = 64 * 1024
    closes_when_removed: ClassVar[bool] = False

    __slots__ = ("attributes", "held_bytes", "line", "name", "next", "queue", "timer")

    def __init__(self, name: str, attributes: Mapping[str, int], line: Line) -> None:
        self.name = name
        self.attributes = attributes
        self.line = line
        self.next: Receiver = _NOWHERE
        self.queue: deque[Chunk] = deque()
        self.held_bytes = 0
        self.timer: Timer | None = None

    def __init_subclass__(cls) -> None:
        if cls.type:
            _KINDS[cls.type] = cls

    @classmethod
    def refuse(cls, attributes: Mapping[str, int]) -> str | None:  # noqa: ARG003 - most take any
        """Why these attributes cannot be; `None` when they can."""
        return None

    def start(self) -> None:  # noqa: B027 - most toxics wait for data
        """Called once the stage is in its place."""

    @abstractmethod
    def feed(self, chunk: Chunk) -> None:
        """Take a chunk and hand it on, now, later, changed or never."""

    def configure(self, attributes: Mapping[str, int]) -> None:
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
        """Keep a chunk for later."""
        self.queue.append(chunk)
        self.held_bytes += len(chunk.data)
        if self.held_bytes > self.room_bytes:
            self.line.stop(self)

    def release(self, size: int | None = None) -> Chunk:
        """The oldest chunk, or its first `size` bytes."""
        head = self.queue[0]
        if size is not None and size < len(head.data):
            self.queue[0] = Chunk(head.data[size:], head.at_s)
            head = Chunk(head.data[:size], head.at_s)
        else:
            self.queue.popleft()
        self.held_bytes -= len(head.data)
        if self.held_bytes <= self.room_bytes // 2:
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
        taken, self.queue, self.held_bytes = self.queue, deque(), 0
        self.line.go(self)
        return taken


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
