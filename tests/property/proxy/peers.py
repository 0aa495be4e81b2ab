"""The peers at both ends of a proxy, and its API without HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

from chaos.proxy.api import Api


class Peer(asyncio.Protocol):
    """One end of a connection: what it received, and whether the stream or the connection ended."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.ended = self.lost = self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool:
        self.ended = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.lost = True

    def pause(self, paused: bool) -> None:
        if paused != self.paused and not self.lost:
            self.paused = paused
            if paused:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()


async def ask(api: Api, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """One call of the API, without HTTP: status and JSON."""
    sent: list[Any] = []
    raw = b"" if body is None else json.dumps(body).encode()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": raw, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": []}
    await api(scope, receive, send)
    text = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(text) if text else None
