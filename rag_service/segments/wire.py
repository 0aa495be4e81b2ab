"""HTTP/1.1 to the dependencies, as an httpx transport on httptools.

httpx's own transport costs more than the rest of an answer together: before each request its pool polls the
socket of every idle connection, and each chunk of a stream passes through h11, which is pure Python
(docs/explanation/ cost-of-an-answer.md has the figures). Here llhttp parses, as it does in uvicorn, and an
idle connection is known to be dead because asyncio says so. httpx stays the client: requests, responses,
errors and the tests' transports are its own.

Kept as it was: connections are taken last in, first out, at most `max_connections` at a time with the others
waiting in line, given up after `idle_s` unused, and never used again unless a response was read to its end.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, cast

import httptools
import httpx

#: A reader that lags this many bytes behind stops the sender.
_MOST_UNREAD = 256 * 1024
_ENDLESS = {"HEAD", "CONNECT"}  # what follows their heads depends on more than the head
_NO_BODY = {204, 304}


class WireTransport(httpx.AsyncBaseTransport):
    """Pooled connections to one origin."""

    def __init__(
        self, *, max_connections: int, idle_s: float, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self._places = asyncio.Semaphore(max_connections)
        self._idle_s = idle_s
        self._ssl = ssl_context
        self._idle: deque[Connection] = deque()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response, its head read. Raises httpx.TransportError."""
        message = await _encode(request)
        await self._places.acquire()
        connection: Connection | None = None
        try:
            connection = self._take_idle() or await self._connect(request)
            await connection.ask(message, request.extensions.get("timeout", {}).get("read"))
        except BaseException:
            if connection is not None:
                connection.abort()
            self._places.release()
            raise
        return httpx.Response(
            connection.status,
            headers=connection.headers,
            stream=WireStream(self, connection),
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": connection.reason},
        )

    def release(self, connection: Connection) -> None:
        """A response was closed: keep its connection if nothing of it is left over, else hang up."""
        self._places.release()
        if connection.reusable:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.abort()

    def forget(self, connection: Connection) -> None:
        """A connection is lost; if it was idle, nobody must take it."""
        if connection in self._idle:
            self._idle.remove(connection)

    async def aclose(self) -> None:
        while self._idle:
            self._idle.pop().abort()

    def _take_idle(self) -> Connection | None:
        oldest = asyncio.get_running_loop().time() - self._idle_s
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.popleft().abort()
        while self._idle:
            connection = self._idle.pop()
            if not connection.closing:  # its loss may be known before asyncio gets round to saying so
                return connection
        return None

    async def _connect(self, request: httpx.Request) -> Connection:
        url = request.url
        secure = url.scheme == "https"
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("connect")):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(self),
                    url.host,
                    url.port or (443 if secure else 80),
                    ssl=(self._ssl or True) if secure else None,
                )
        except TimeoutError:
            raise httpx.ConnectTimeout("connecting took too long", request=request) from None
        except OSError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        return connection


class WireStream(httpx.AsyncByteStream):
    """The body of one response, as it comes."""

    def __init__(self, transport: WireTransport, connection: Connection) -> None:
        self._transport: WireTransport | None = transport
        self._connection = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        connection = self._connection
        while True:
            while connection.unread:
                yield connection.read()
            if connection.complete:
                return
            await connection.wait()

    async def aclose(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.release(self._connection)


class Connection(asyncio.Protocol):
    """One connection, with at most one request on its way."""

    def __init__(self, pool: WireTransport) -> None:
        self._pool = pool
        self._error: httpx.TransportError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._read_limit_s: float | None = None
        self.idle_since = 0.0
        self._begin()

    def _begin(self) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self._unread: deque[bytes] = deque()
        self._unread_bytes = 0
        self._paused = False
        self._head = False
        self._delimited = False
        self._spoilt = False
        self._keep_alive = False
        self.complete = False
        self.status = 0
        self.reason = b""
        self.headers: list[tuple[bytes, bytes]] = []

    @property
    def unread(self) -> bool:
        return bool(self._unread)

    @property
    def closing(self) -> bool:
        return self._transport.is_closing()

    @property
    def reusable(self) -> bool:
        """Read to its end, kept alive by the peer, and nothing came after it."""
        return (
            self.complete
            and not self._unread
            and not self._spoilt
            and self._delimited
            and self._keep_alive
            and self._error is None
            and not self.closing
        )

    async def ask(self, message: bytes, read_limit_s: float | None) -> None:
        """Send a request and wait for the head of its response. Raises httpx.TransportError."""
        self._begin()
        self._read_limit_s = read_limit_s
        if self._error is not None:
            raise self._error
        self._transport.write(message)
        while not self._head:
            await self.wait()

    async def wait(self) -> None:
        """Until something has come. Raises httpx.TransportError when nothing more will."""
        if self._error is not None:
            raise self._error
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            if self._read_limit_s is None:  # as in every answer: attempts have a limit of their own
                await self._waiter
            else:
                async with asyncio.timeout(self._read_limit_s):
                    await self._waiter
        except TimeoutError:
            raise httpx.ReadTimeout(f"nothing came for {self._read_limit_s:g} s") from None
        finally:
            self._waiter = None
        if self._error is not None and not self._unread and not self.complete:
            raise self._error

    def read(self) -> bytes:
        data = self._unread.popleft()
        self._unread_bytes -= len(data)
        if self._paused and not self._unread:
            self._paused = False
            self._transport.resume_reading()
        return data

    def abort(self) -> None:
        self._transport.abort()

    # what asyncio tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass of it

    def data_received(self, data: bytes) -> None:
        if self.complete:  # nobody asked for this
            self._spoilt = True
            self._transport.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(httpx.RemoteProtocolError(f"not HTTP/1.1: {error}"))
            self._transport.abort()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._pool.forget(self)
        if error is not None:
            self._end(httpx.ReadError(str(error) or type(error).__name__))
        elif not self._head:
            self._end(httpx.RemoteProtocolError("the server hung up without a response"))
        elif self._delimited:
            self._end(httpx.RemoteProtocolError("the server hung up before the end of its response"))
        else:
            self.complete = True  # a body without a length ends with its connection
        self._wake()

    def _end(self, error: httpx.TransportError) -> None:
        if self._error is None and not self.complete:
            self._error = error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # what the parser tells

    def on_message_begin(self) -> None:
        if self.complete:
            self._spoilt = True

    def on_status(self, reason: bytes) -> None:
        self.reason = reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._delimited = True

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:  # news about a response that is still to come
            self.headers = []
            self._delimited = False
            return
        self.status = status
        self._delimited = self._delimited or status in _NO_BODY
        self._head = True

    def on_body(self, data: bytes) -> None:
        self._unread.append(data)
        self._unread_bytes += len(data)
        if self._unread_bytes > _MOST_UNREAD and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._head:
            self.complete = True
            self._keep_alive = self._parser.should_keep_alive()  # llhttp forgets it after this call


async def _encode(request: httpx.Request) -> bytes:
    if request.method in _ENDLESS or "transfer-encoding" in request.headers:
        raise httpx.LocalProtocolError(
            f"{request.method} with headers {sorted(request.headers)} cannot be sent; allowed are methods "
            "other than HEAD and CONNECT, with a body of known length"
        )
    lines = [f"{request.method} ".encode() + request.url.raw_path + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in request.headers.raw]
    return b"\r\n".join(lines) + b"\r\n\r\n" + await request.aread()
