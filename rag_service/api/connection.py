"""What one connection may cost: time for its headers, bytes of them, time in which it reads nothing.

uvicorn waits for ever for a connection that sends nothing or one header a minute, takes headers of any
length, and keeps what a stalled reader does not take until the kernel gives up. Thousands of those are one
cheap script, so each has limits here, and there is a limit on how many there are. Beneath ASGI, because only
the protocol sees a connection before its request is whole and after its response was written.

A request that comes while another is being answered is not taken (clients do not pipeline): uvicorn would
queue any number of them, and would look for a hang-up at the newest only, so that the answer goes on for
nobody. The answer ends as it would have, and its connection with it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MAX_HEAD_BYTES = 64 * 1024
#: Of a body that is no longer read because its response is there: more than any body that is allowed.
_MAX_DISCARDED_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of each connection, and of their number."""

    head_timeout_s: float
    write_timeout_s: float
    max_connections: int


def _response(status: str, code: str, message: str, more: str = "") -> bytes:
    body = f'{{"error":{{"code":"{code}","message":"{message}"}}}}'
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        f"connection: close\r\n{more}\r\n"
    )
    return (head + body).encode()


_TOO_MANY = _response(
    "503 Service Unavailable",
    "too_many_connections",
    "this service has as many connections as it takes",
    "retry-after: 1\r\n",
)
_TOO_SLOW = _response("408 Request Timeout", "head_timeout", "the request line and headers came too slowly")
_TOO_LONG = _response(
    "431 Request Header Fields Too Large", "headers_too_long", f"at most {_MAX_HEAD_BYTES} bytes are allowed"
)


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's protocol with limits; subclasses made by `bounded` say which."""

    limits: ConnectionLimits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = True
        #: Since the last byte of a body: the framing of a chunk, or trailers.
        self._framing_bytes = 0
        self._discarded_bytes = 0
        self._closing_after_answer = False
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            self._refuse(_TOO_MANY)
        else:
            self._arm_head()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing() or self._closing_after_answer:
            return
        if self._in_head:
            self._head_bytes += len(data)
        else:
            self._framing_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head and self._head_bytes > _MAX_HEAD_BYTES:
            self._refuse(_TOO_LONG)
        elif self._framing_bytes > _MAX_HEAD_BYTES or self._discarded_bytes > _MAX_DISCARDED_BYTES:
            self.transport.abort()
        elif not self._responding:
            self._arm_head()  # any byte has ended uvicorn's own wait for the next request

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        self._arm_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else a trailer, which nobody would ever read
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._framing_bytes = self._discarded_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        if self._responding:
            self._closing_after_answer = True
            self.cycle.keep_alive = False
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._closing_after_answer:
            return
        self._framing_bytes = 0
        if not self._responding:
            self._discarded_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._closing_after_answer:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        if self._responding and self.cycle.response_started:
            self.transport.abort()  # it would stand in the middle of the answer
        else:
            super().send_400_response(msg)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(self.limits.write_timeout_s, self._stalled)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _arm_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.head_timeout_s, self._head_late)

    @property
    def _responding(self) -> bool:
        """An earlier request is being answered: nothing may be written into its response."""
        return self.cycle is not None and not self.cycle.response_complete

    def _head_late(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self._responding:
            if self._in_head:
                self._arm_head()
        elif self._in_head and self._head_bytes:
            self._refuse(_TOO_SLOW)
        else:
            self.transport.close()  # it asked for nothing: silent, or odd bytes after an answer

    def _stalled(self) -> None:
        """Its reader took nothing for too long: what is buffered for it is dropped with the connection."""
        self._stall_timer = None
        self.transport.abort()

    def _refuse(self, response: bytes) -> None:
        if self._responding:
            self.transport.abort()
        else:
            self.transport.write(response)
            self.transport.close()


def bounded(limits: ConnectionLimits) -> type[asyncio.Protocol]:
    """The protocol class for `uvicorn.Config(http=…)`."""
    made: Any = type("BoundedConnection", (BoundedConnection,), {"limits": limits})
    return cast("type[asyncio.Protocol]", made)
