"""One socket of a connection: what comes in goes to its link, and the link's other end is written to.

The fast path is `data_received` with no toxic on the link: the bytes go straight to the other transport,
with `pause_reading` and `resume_reading` as back-pressure. That is what keeps the built-in proxy ahead of
Toxiproxy where nothing is wrong; asyncio streams are several times slower.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from chaos.proxy.connection import Connection
    from chaos.proxy.link import Link

_LINGER_NONE = struct.pack("ii", 1, 0)


class End(asyncio.Protocol):
    """The client's or the upstream's socket."""

    __slots__ = (
        "connection",
        "incoming",
        "lost",
        "outgoing",
        "received_bytes",
        "resets_when_sent",
        "transport",
    )

    outgoing: Link
    incoming: Link

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.transport: asyncio.Transport | None = None
        self.lost = False
        self.received_bytes = 0
        self.resets_when_sent = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.outgoing.stopped:
            self.pause()
        self.connection.end_ready(self)

    def data_received(self, data: bytes) -> None:
        self.received_bytes += len(data)
        link = self.outgoing
        if link.head is None:
            link.write(data)
        else:
            link.receive(data)

    def eof_received(self) -> bool:
        self.outgoing.receive_end()
        return True  # keep the other direction open: half-close

    def pause_writing(self) -> None:
        self.incoming.stop(self)

    def resume_writing(self) -> None:
        self.incoming.go(self)
        if self.resets_when_sent:
            self.abort(with_reset=True)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - any loss is an end
        self.lost = True
        self.connection.end_lost(self)

    def pause(self) -> None:
        if self.transport is not None and not self.lost and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        if self.transport is not None and not self.lost and not self.transport.is_closing():
            self.transport.resume_reading()

    def finish(self) -> None:
        """Send the end of the stream once everything written is sent."""
        if self.transport is not None and not self.lost and not self.transport.is_closing():
            with contextlib.suppress(OSError, RuntimeError):
                self.transport.write_eof()

    def close(self) -> None:
        if self.transport is None or self.lost:
            return
        if not self.resets_when_sent:
            self.transport.close()
        elif self.transport.get_write_buffer_size():
            self.transport.set_write_buffer_limits(0)  # `resume_writing` comes when all is sent
        else:
            self.abort(with_reset=True)

    def abort(self, with_reset: bool = False) -> None:
        if self.transport is None or self.lost:
            return
        if with_reset:
            with contextlib.suppress(OSError):
                sock = self.transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        self.transport.abort()
