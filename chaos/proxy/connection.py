"""One client's connection through a proxy: two sockets and a link each way.

The fast path is `End.data_received` with no toxic on its link: the bytes go straight to the other
transport, with `pause_reading` and `resume_reading` as back-pressure. That is what keeps the built-in
proxy ahead of Toxiproxy where nothing is wrong; asyncio streams are several times slower.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import struct
from collections.abc import Callable, Iterable
from typing import cast

from chaos.fault_proxy import Toxic
from chaos.proxy.link import Link

DIAL_TIMEOUT_S = 30.0
"""As long as most HTTP clients wait; Toxiproxy has no limit, and one dial there blocks all others."""

_LINGER_NONE = struct.pack("ii", 1, 0)
_log = logging.getLogger(__name__)


class End(asyncio.Protocol):
    """The client's or the upstream's socket."""

    __slots__ = ("connection", "incoming", "lost", "outgoing", "transport")

    outgoing: Link
    incoming: Link

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.transport: asyncio.Transport | None = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.outgoing.stopped:
            self.pause()
        self.connection.end_ready(self)

    def data_received(self, data: bytes) -> None:
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
        if self.transport is not None and not self.lost:
            self.transport.close()

    def abort(self, with_reset: bool = False) -> None:
        if self.transport is None or self.lost:
            return
        if with_reset:
            with contextlib.suppress(OSError):
                sock = self.transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        self.transport.abort()


class Connection:
    """A client, its upstream, and the links between them."""

    __slots__ = ("_dial", "_loop", "_on_gone", "client", "downstream", "upstream", "upstream_link")

    def __init__(
        self,
        toxics: Iterable[Toxic],
        loop: asyncio.AbstractEventLoop,
        rng: random.Random,
        on_gone: Callable[[Connection], None],
    ) -> None:
        self._loop = loop
        self._on_gone = on_gone
        self._dial: asyncio.Task[None] | None = None
        self.client, self.upstream = End(self), End(self)
        self.upstream_link = Link(self, self.client, self.upstream, loop, rng)
        self.downstream = Link(self, self.upstream, self.client, loop, rng)
        self.client.outgoing = self.upstream.incoming = self.upstream_link
        self.client.incoming = self.upstream.outgoing = self.downstream
        known = list(toxics)
        order = [toxic.name for toxic in known]
        for toxic in known:
            self.link(toxic.stream).put_toxic(toxic, order)

    def link(self, stream: str) -> Link:
        """The direction that a toxic's `stream` names."""
        return self.downstream if stream.lower() == "downstream" else self.upstream_link

    def dial(self, host: str, port: int) -> None:
        """Connect to the upstream, without holding up anybody else."""
        self._dial = self._loop.create_task(self._connect(host, port))

    async def _connect(self, host: str, port: int) -> None:
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                await self._loop.create_connection(lambda: self.upstream, host, port)
        except (OSError, TimeoutError, ValueError, OverflowError) as error:
            _log.info("upstream %s:%s cannot be reached: %s", host, port, error)
            self.upstream.lost = True
            self.upstream_link.discard()
            self.client.close()

    def end_ready(self, end: End) -> None:
        """A socket is connected: data for it can flow, also what came before."""
        assert end.transport is not None
        if self.client.lost and end is self.upstream:
            end.abort()
            return
        link = end.incoming
        link.sink_ready(end.transport.write)
        if link.ended:
            self.link_ended(link)

    def link_ended(self, link: Link) -> None:
        """All that one source sent has been handed over: pass the end on, or be done."""
        if self.upstream_link.ended and self.downstream.ended:
            self.close()
        else:
            link.sink.finish()

    def end_lost(self, end: End) -> None:
        """A socket is gone: nothing can be written to it, and what it sent flows out first."""
        end.incoming.discard()
        other = end.outgoing.sink
        if other.lost:
            end.outgoing.discard()
            self._on_gone(self)
        elif end.outgoing.ended:
            self.close()
        else:
            end.outgoing.receive_end()
        if other.transport is None and self._dial is not None and not self._dial.done():
            self._dial.cancel()
            self._on_gone(self)

    def close(self) -> None:
        """Close both sockets once what was written is sent."""
        self.upstream_link.discard()
        self.downstream.discard()
        self.client.close()
        self.upstream.close()

    def reset(self) -> None:
        """Close both sockets with a TCP reset."""
        self._drop(with_reset=True)

    def abort(self) -> None:
        """Close both sockets at once; what was not sent is lost."""
        self._drop(with_reset=False)

    def _drop(self, with_reset: bool) -> None:
        if self._dial is not None:
            self._dial.cancel()
        self.upstream_link.discard()
        self.downstream.discard()
        self.client.abort(with_reset)
        self.upstream.abort(with_reset)
