"""One request on its way through the hop: what the faults that strike it want, and what they did.

The hop asks a passage three things: whether somebody answers in the upstream's place, what the request's body
becomes, and what is done to the answer. A passage keeps no body; a change that needs a whole one gets it from
the hop, up to `MAX_WHOLE_BYTES`.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from chaos.proxy.evidence import Strike

MAX_WHOLE_BYTES = 8 * 1024 * 1024
"""The longest body that a fault gets whole, as the vector DB's longest request; longer ones pass as is."""

Header = tuple[bytes, bytes]
Body = AsyncIterator[bytes]


class Headers:
    """Fields in their order and spelling; a name counts in any case."""

    __slots__ = ("items",)

    def __init__(self, items: list[Header]) -> None:
        self.items = items

    def get(self, name: bytes) -> bytes | None:
        """The first value under this name."""
        return next((value for key, value in self.items if key.lower() == name), None)

    def remove(self, *names: bytes) -> None:
        self.items = [item for item in self.items if item[0].lower() not in names]

    def set(self, name: bytes, value: bytes) -> None:
        """This value, in the place of those there are, else at the end."""
        place = next((at for at, item in enumerate(self.items) if item[0].lower() == name), len(self.items))
        spelling = self.items[place][0] if place < len(self.items) else name
        self.remove(name)
        self.items.insert(place, (spelling, value))

    def set_length(self, length: int) -> None:
        """The body has this length, and is sent in one piece."""
        self.remove(b"transfer-encoding")
        self.set(b"content-length", str(length).encode())

    @property
    def media_type(self) -> bytes:
        """The content type without its parameters, in small letters."""
        return (self.get(b"content-type") or b"").partition(b";")[0].strip().lower()

    @property
    def is_encoded(self) -> bool:
        """Whether the body is compressed, so that nothing in it can be read."""
        return (self.get(b"content-encoding") or b"identity").strip().lower() != b"identity"


@dataclass(slots=True)
class RequestHead:
    """A request without its body."""

    method: str
    target: str
    headers: Headers

    @property
    def path(self) -> str:
        """The target without its query, and without scheme and host where a client sends those."""
        path = self.target.partition("?")[0]
        scheme, is_absolute, rest = path.partition("://")
        return "/" + rest.partition("/")[2] if is_absolute and "/" not in scheme else path

    @property
    def trace_id(self) -> str | None:
        """Of its `traceparent`, as W3C writes it: version, trace id, parent id, flags."""
        parts = (self.headers.get(b"traceparent") or b"").split(b"-")
        if len(parts) < 4 or len(parts[1]) != 32:
            return None
        try:
            int(parts[1], 16)
        except ValueError:
            return None
        return parts[1].decode()


@dataclass(slots=True)
class AnswerHead:
    """An answer without its body; a change may give it another status or other headers."""

    status: int
    reason: bytes
    headers: Headers


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """What is answered without asking the upstream."""

    status: int
    headers: tuple[Header, ...]
    body: bytes
    goes_out: Callable[[], None]
    """Called when the client is sent it: until then the request may still be refused, or its client leave."""


class CutError(Exception):
    """Raised by a change of the answer: end the client's connection here, in this way."""

    def __init__(self, with_reset: bool) -> None:
        super().__init__("reset" if with_reset else "close")
        self.with_reset = with_reset


RequestChange = Callable[[bytes], bytes | None]
"""The whole body of a request becomes this; None leaves it."""

AnswerChange = Callable[[AnswerHead, Body], Awaitable[Body]]
"""The body of an answer becomes this; the head goes out when it returns."""


@dataclass(slots=True)
class Touch:
    """What one fault did to one request, as it happens."""

    name: str
    type: str
    delay_s: float = 0.0
    bytes: int = 0
    notes: list[str] = field(default_factory=list)
    first_s: float | None = None
    last_s: float | None = None

    def as_strike(self) -> Strike:
        note = "; ".join(self.notes)
        return Strike(self.name, self.type, self.delay_s, self.bytes, note, self.first_s, self.last_s)


@dataclass(slots=True)
class Passage:
    """What is to happen to one request, and what has happened."""

    request: RequestHead
    rng: random.Random
    now_s: Callable[[], float]
    own_answer: OwnAnswer | None = None
    request_changes: list[RequestChange] = field(default_factory=list)
    answer_changes: list[AnswerChange] = field(default_factory=list)
    reads_answer: bool = False
    """Whether a change looks into the answer, so that it must not come compressed."""
    touches: list[Touch] = field(default_factory=list)
    """Of the faults that did something, in the order in which they did."""

    def change_request(self, body: bytes) -> bytes | None:
        """The request's body after all changes; None when none changed it."""
        changed = None
        for change in self.request_changes:
            after = change(body)
            if after is not None:
                body = changed = after
        return changed

    def strikes(self) -> list[Strike]:
        return [touch.as_strike() for touch in self.touches]
