"""What one fault may do to one request and its answer.

A fault's `apply` gets an `Exchange` before the request goes on, and says with it what is to happen: answer in
the upstream's place, change the request, or change the answer as it passes (its pieces, its events, or its
whole JSON). What a fault does is noted, and only that: one that had nothing to act on leaves no trace, and
its `count` is not used up.

Pauses end when the fault is removed: what it held goes on, as with a toxic.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Protocol

import h11

from chaos.proxy.http.passage import (
    MAX_WHOLE_BYTES,
    AnswerHead,
    Body,
    Header,
    OwnAnswer,
    Passage,
    RequestChange,
    RequestHead,
    Touch,
)
from chaos.proxy.http.sse import SseEvent, SseSplitter

BodyChange = Callable[[AnswerHead, Body], Body]
EventsChange = Callable[[AnswerHead, AsyncIterator[SseEvent]], Body]
WholeChange = Callable[[AnswerHead, bytes], bytes | None]


class Owner(Protocol):
    """The fault that an exchange is shown to, as it was added."""

    gone: asyncio.Event
    hits: int
    """On how many requests it has acted so far."""

    @property
    def name(self) -> str: ...

    @property
    def type(self) -> str: ...


class Exchange:
    """One request and its answer, as one fault sees them."""

    def __init__(self, passage: Passage, owner: Owner) -> None:
        self._passage = passage
        self._owner = owner
        self._touch: Touch | None = None
        self.rng = passage.rng

    @property
    def request(self) -> RequestHead:
        return self._passage.request

    @property
    def has_struck(self) -> bool:
        """Whether the fault did anything to it."""
        return self._touch is not None

    @property
    def is_off(self) -> bool:
        """Whether the fault was removed in the meantime: what is left of the answer is to pass."""
        return self._owner.gone.is_set()

    def strike(self, note: str = "", *, size: int = 0) -> None:
        """Note that the fault did something: what, and to how many bytes."""
        touch = self._touched()
        touch.bytes += size
        if note and note not in touch.notes:
            touch.notes.append(note)

    async def pause(self, delay_s: float | None) -> float:
        """Wait so long, or for ever; less when the fault is removed or the client gives up; how long."""
        if self.is_off:
            return 0.0
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        touch = self._touched()
        try:
            async with asyncio.timeout(delay_s):
                await self._owner.gone.wait()
        except TimeoutError:
            pass
        finally:
            paused_s = loop.time() - start_s
            touch.delay_s += paused_s
            touch.last_s = self._passage.now_s()
        return paused_s

    def answer(self, status: int, headers: tuple[Header, ...], body: bytes, note: str) -> None:
        """Answer without asking the upstream; the first fault that does so is heard."""
        if self._passage.own_answer is None:
            goes_out = partial(self.strike, note, size=len(body))
            self._passage.own_answer = OwnAnswer(status, headers, body, goes_out)

    def change_request(self, change: RequestChange) -> None:
        """Give the request another body; `change` gets it whole."""
        self._passage.request_changes.append(lambda body: None if self.is_off else change(body))

    def change_body(self, change: BodyChange) -> None:
        """Pass the answer's body through `change`, which keeps its length."""

        async def pass_on(head: AnswerHead, body: Body) -> Body:
            return change(head, body)

        self._passage.answer_changes.append(pass_on)

    def change_events(self, change: EventsChange) -> None:
        """Pass the events of a stream through `change`; what is no `text/event-stream` is left alone."""

        async def split(head: AnswerHead, body: Body) -> Body:
            if self.is_off or head.headers.media_type != b"text/event-stream" or head.headers.is_encoded:
                return body
            head.headers.remove(b"content-length")  # it may become longer or shorter: it goes out in chunks
            return change(head, events_of(body))

        self._passage.reads_answer = True
        self._passage.answer_changes.append(split)

    def change_json(self, change: WholeChange) -> None:
        """Give an answer that is JSON another body; `change` gets it whole, and None leaves it."""

        async def gather(head: AnswerHead, body: Body) -> Body:
            if self.is_off or not _is_json(head.headers.media_type) or head.headers.is_encoded:
                return body
            taken, is_whole = await take_whole(body, lambda: self.is_off)
            changed = change(head, taken) if is_whole and taken else None
            if changed is None:
                return chained(taken, body)
            head.headers.set_length(len(changed))
            return chained(changed)

        self._passage.reads_answer = True
        self._passage.answer_changes.append(gather)

    def _touched(self) -> Touch:
        now_s = self._passage.now_s()
        if self._touch is None:
            self._touch = Touch(self._owner.name, self._owner.type, first_s=now_s)
            self._passage.touches.append(self._touch)
            self._owner.hits += 1
        self._touch.last_s = now_s
        return self._touch


async def events_of(body: Body) -> AsyncIterator[SseEvent]:
    """The events of a stream; the last may be unfinished, also where the stream breaks off."""
    splitter = SseSplitter()
    broke_off: Exception | None = None
    try:
        async for piece in body:
            for raw in splitter.feed(piece):
                yield SseEvent(raw)
    except (ConnectionError, h11.RemoteProtocolError) as error:
        broke_off = error
    if rest := splitter.rest():
        yield SseEvent(rest)
    if broke_off is not None:
        raise broke_off


async def take_whole(body: Body, enough: Callable[[], bool] = lambda: False) -> tuple[bytes, bool]:
    """What comes of a body, and whether it is all; it stops at `MAX_WHOLE_BYTES`, or when it is `enough`."""
    taken = bytearray()
    async for piece in body:
        taken += piece
        if len(taken) > MAX_WHOLE_BYTES or enough():
            return bytes(taken), False
    return bytes(taken), not enough()


async def chained(first: bytes, rest: Body | None = None) -> AsyncIterator[bytes]:
    """A body that begins with `first`."""
    if first:
        yield first
    if rest is not None:
        async for piece in rest:
            yield piece


def _is_json(media_type: bytes) -> bool:
    return media_type == b"application/json" or media_type.endswith(b"+json")
