"""uvicorn's HTTP protocol with the bounds that Toxiproxy's server has, so that no client can hold it open.

uvicorn waits for the rest of a request for ever and takes headers of any size. Go's server, as Toxiproxy
sets it up, gives a request 15 s to come in whole and its headers 1 MiB; what it answers then was measured
on 2.12.0: half a request line gets 400, half a body 503 without a body, too long a header 431, silence and
half a header nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

REQUEST_LIMIT_S = 15.0
HEADER_LIMIT_BYTES = 1024 * 1024 + 4096
_LINE_BYTES = 4096


class BoundedHttp(HttpToolsProtocol):
    """A request has to be small enough and whole in time."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._limit: asyncio.TimerHandle | None = None
        self._header_bytes = 0
        self._line = b""
        self._in_header = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_limit()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_limit()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_header:
            self._header_bytes += len(data)
            if len(self._line) < _LINE_BYTES:
                self._line += data[:_LINE_BYTES]
        super().data_received(data)
        if self._in_header and self._header_bytes > HEADER_LIMIT_BYTES:
            self._refuse("431 Request Header Fields Too Large", "431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._limit is None:
            self._start_limit()

    def on_headers_complete(self) -> None:
        self._in_header = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_header, self._header_bytes, self._line = True, 0, b""
        self._end_limit()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - Go has one message for all
        self._refuse("400 Bad Request", "400 Bad Request")

    def _start_limit(self) -> None:
        self._limit = self.loop.call_later(REQUEST_LIMIT_S, self._late)

    def _end_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _late(self) -> None:
        self._limit = None
        if not self._in_header:
            self._refuse("503 Service Unavailable", "")
        elif self._line and b" HTTP/" not in self._line:
            self._refuse("400 Bad Request", "400 Bad Request")
        else:
            self.transport.close()

    def _refuse(self, status: str, body: str) -> None:
        if self.transport.is_closing():
            return
        head = (
            f"HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\n"
            if body
            else f"HTTP/1.1 {status}\r\n"
        )
        self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode())
        self.transport.close()
