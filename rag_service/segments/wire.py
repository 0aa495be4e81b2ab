"""aiohttp's connections under httpx's client.

httpx's own transport costs more than the rest of an answer together: before each request its pool polls the
socket of every idle connection, and each chunk of a stream passes through h11, which is pure Python. aiohttp
parses in C, and asyncio tells it when an idle connection is dead (docs/explanation/cost-of-an-answer.md has
the figures). httpx stays the client: requests, responses, errors and the tests' transports are its own. The
package httpx-aiohttp would do this too, but calls a server that hangs up a connect timeout.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import aiohttp
import httpx

#: httpx has set the headers that should be sent; aiohttp adds none of its own.
_LEFT_OUT = frozenset({"accept", "accept-encoding", "user-agent", "content-type"})


class WireTransport(httpx.AsyncBaseTransport):
    """At most `max_connections` at a time, the others wait in line; idle ones are given up after `idle_s`."""

    def __init__(
        self, *, max_connections: int, idle_s: float, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self._max_connections = max_connections
        self._idle_s = idle_s
        self._ssl = ssl_context
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response, its head read. Raises httpx.TransportError."""
        session = self._session or self._open()
        limits = request.extensions.get("timeout", {})
        with _httpx_errors():
            response = await session.request(
                request.method,
                str(request.url),
                headers=request.headers.multi_items(),
                data=await request.aread() or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    sock_connect=limits.get("connect"), sock_read=limits.get("read")
                ),
            )
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=_Body(response),
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": (response.reason or "").encode()},
        )

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        """The pool, made by the first request, because it belongs to the running event loop."""
        connector = aiohttp.TCPConnector(
            limit=self._max_connections, keepalive_timeout=self._idle_s, ssl=self._ssl or True
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            skip_auto_headers=_LEFT_OUT,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(),
        )
        return self._session


class _Body(httpx.AsyncByteStream):
    """The body as it comes. Closed before its end, it hangs up: so the model server frees the slot.

    On a chunk that is none, aiohttp closes the connection and forgets the body: whoever waits for it would
    wait for ever. So the body listens for the end of its connection itself.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._cut = False
        connection = response.connection  # none where the whole body has come with the head
        protocol = connection.protocol if connection is not None else None
        self._lost = protocol.closed if protocol is not None else None
        if self._lost is not None:
            self._lost.remove_done_callback(_heard)  # one future a connection, whatever it carries
            self._lost.add_done_callback(_heard)
            self._lost.add_done_callback(self._end)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        with _httpx_errors():
            try:
                while chunk := await content.readany():
                    yield chunk
            except RuntimeError as error:  # the connection is lost, and the body has not heard of it yet
                raise httpx.RemoteProtocolError(_words(error)) from error
        if self._cut:
            raise httpx.RemoteProtocolError("the connection ended within the body")

    def _end(self, _: asyncio.Future[None]) -> None:
        """The connection is lost. What has come may still be read."""
        content = self._response.content
        if not content.is_eof() and content.exception() is None:
            self._cut = True
            content.feed_eof()

    async def aclose(self) -> None:
        if self._lost is not None:
            self._lost.remove_done_callback(self._end)
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


def _heard(lost: asyncio.Future[None]) -> None:
    """How an idle connection ended is nobody's concern; unasked, asyncio would log it."""
    if not lost.cancelled():
        lost.exception()


@contextmanager
def _httpx_errors() -> Iterator[None]:
    """aiohttp's errors as httpx's own transport would word them."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout(_words(error)) from error
    except TimeoutError as error:
        raise httpx.ReadTimeout(_words(error)) from error
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError(_words(error)) from error
    except aiohttp.ClientOSError as error:
        raise httpx.ReadError(_words(error)) from error
    except aiohttp.ClientError as error:  # hung up, or not HTTP
        raise httpx.RemoteProtocolError(_words(error)) from error


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
