"""One HTTP call that ends in its time as a whole, whatever the other side does.

The usual clients bound each read: a server that sends a byte now and then is waited for without an end, and
whoever holds a fault must not be. Here every read gets what is left of the call's time, and an answer its
size. Nothing of the environment takes part (no proxy variables, no `.netrc`), redirects are not followed and
nothing is pooled: all of it is loopback, and Toxiproxy closes idle connections after 60 s.

Raises ConnectionRefusedError when nobody listens, TimeoutError when the time is over, and another OSError or
HTTPException when the connection broke or what came is no HTTP.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, IncompleteRead
from typing import Any

__all__ = ["MOST_BYTES", "Answer", "HTTPException", "call"]

MOST_BYTES = 64 << 20
"""More than any answer of a fault proxy: a thousand records of evidence are a few megabytes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole."""

    status_code: int
    content: bytes


class _BoundedSocket(socket.socket):
    """A connected socket on which everything together ends at `ends_s`."""

    ends_s: float

    def left_s(self) -> float:
        left_s = self.ends_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        return left_s

    def recv_into(self, *arguments: Any) -> int:
        self.settimeout(self.left_s())
        return super().recv_into(*arguments)

    def sendall(self, *arguments: Any) -> None:
        self.settimeout(self.left_s())
        super().sendall(*arguments)


def call(
    method: str,
    host: str,
    port: int,
    path: str,
    body: object,
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send `body` as JSON unless it is `None`, and read the answer to its end."""
    ends_s = time.monotonic() + timeout_s
    connection = HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.connect()
        connection.sock = bounded = _BoundedSocket(fileno=connection.sock.detach())
        bounded.ends_s = ends_s
        if body is None:
            connection.request(method, path, headers=dict(headers or {}))
        else:
            sent = json.dumps(body).encode()
            connection.request(method, path, sent, {"Content-Type": "application/json", **(headers or {})})
        with connection.getresponse() as answer:
            content = answer.read(MOST_BYTES)
            if len(content) == MOST_BYTES:
                raise HTTPException(f"an answer of {MOST_BYTES} bytes or more")
            if answer.length:
                raise IncompleteRead(content, answer.length)
            return Answer(answer.status, content)
    finally:
        connection.close()
