"""One socket that speaks HTTP/1.1: asyncio's transport, h11's grammar, and back-pressure both ways.

Not asyncio's streams: a hang-up must be noticed at once, also while nobody reads, because the upstream's
work is to end with its client.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import cast

import h11

MAX_HEAD_BYTES = 64 * 1024
"""Of a request's or an answer's head, as uvicorn has it; a longer one is refused with 431."""
_ROOM_BYTES = 256 * 1024
EVENTS_AT_ONCE = 256
"""Some milliseconds' worth; then others have their turn, whatever small chunks a body comes in."""

HttpEvent = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]


class Peer(asyncio.Protocol):
    """The client of a hop (`h11.SERVER` is our role then), or its upstream (`h11.CLIENT`)."""

    __slots__ = (
        "_error",
        "_events",
        "_inbox",
        "_is_paused",
        "_needs_data",
        "_transport",
        "_waiter",
        "_writable",
        "has_ended",
        "http",
        "is_lost",
        "on_gone",
    )

    def __init__(self, role: type[h11.CLIENT] | type[h11.SERVER]) -> None:
        self.http = h11.Connection(role, max_incomplete_event_size=MAX_HEAD_BYTES)
        self.has_ended = False
        self.is_lost = False
        self.on_gone: Callable[[], None] | None = None
        self._inbox = bytearray()
        self._error: Exception | None = None
        self._is_paused = False
        self._needs_data = False
        self._events = 0
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._inbox += data
        if len(self._inbox) > _ROOM_BYTES and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self.has_ended = True
        self._wake()
        self._gone()
        return True  # whoever reads decides when this side closes

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = self.has_ended = True
        if isinstance(exc, ConnectionError) and self._error is None:
            self._error = exc
        self._wake()
        self.resume_writing()
        self._gone()

    def pause_writing(self) -> None:
        if self._writable is None and not self.is_lost:
            self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def poll(self) -> HttpEvent:
        """The next event of what has come; `NEED_DATA` when that is not enough. Raises h11's errors."""
        event = self.http.next_event()
        while event is h11.NEED_DATA:
            if self._inbox:
                self.http.receive_data(bytes(self._inbox))
                self._inbox.clear()
                if self._is_paused and self._transport is not None and not self._transport.is_closing():
                    self._is_paused = False
                    self._transport.resume_reading()
            elif self._error is not None:
                raise self._error
            elif self.has_ended:
                self.http.receive_data(b"")
            else:
                break
            event = self.http.next_event()
        self._needs_data = event is h11.NEED_DATA
        return event

    async def wait(self) -> None:
        """Until there may be another event, or the end; others have their turn where there is one already."""
        if not self._needs_data:
            await asyncio.sleep(0)
            return
        if self._inbox or self.has_ended or self._error is not None:
            return
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    @property
    def closed_in_silence(self) -> bool:
        """Whether it closed, and said nothing that is left to complain of."""
        return self.has_ended and not self.http.trailing_data[0]

    async def next_event(self) -> HttpEvent:
        """The next event, however long it takes."""
        self._events += 1
        if self._events % EVENTS_AT_ONCE == 0:
            await asyncio.sleep(0)
        while (event := self.poll()) is h11.NEED_DATA:
            await self.wait()
        return event

    def end(self) -> None:
        """Let whoever reads from here find the end."""
        self.has_ended = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """Let whoever reads from here get this error."""
        self._error = error
        self._inbox.clear()
        self._wake()

    def encode(self, event: h11.Event) -> bytes:
        """An event as bytes. Raises `h11.LocalProtocolError` when it cannot come now."""
        return self.http.send(event) or b""

    def write(self, data: bytes) -> None:
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        """Until the other end has taken enough of what was written."""
        if self._writable is not None:
            await asyncio.shield(self._writable)

    def close(self) -> None:
        """Close once everything written is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    async def finish(self, patience_s: float = 1.0) -> None:
        """Close although the other end may still be sending: a reset could cost it our answer."""
        if self._transport is None or self._transport.is_closing():
            return
        with contextlib.suppress(OSError, RuntimeError, NotImplementedError):
            self._transport.write_eof()
        self._needs_data = True  # what is left to read is dropped
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while not self.has_ended:
                    self._inbox.clear()
                    if self._is_paused:
                        self._is_paused = False
                        self._transport.resume_reading()
                    await self.wait()
        self._transport.close()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _gone(self) -> None:
        on_gone, self.on_gone = self.on_gone, None
        if on_gone is not None:
            on_gone()
