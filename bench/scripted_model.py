"""`python -m bench.scripted_model PORT FIRST_TOKEN_S TOKEN_S`: a model server of answers of known length.

The question says how many tokens it wants (`… [40 tokens]`), so that the cost of a token is the slope over
two lengths and nothing has to be estimated. Each token is a write of its own, as vLLM sends them. Written on
bare asyncio protocols, so that it takes little of the two cores that the service is measured on.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import cast

import httptools
import uvloop

_WANTED = re.compile(rb"\[(\d+) tokens\]")
_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
_SMALL = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def event(choices: list[dict[str, object]], usage: dict[str, int] | None = None) -> bytes:
    """One chunk of a stream with every field that vLLM sends."""
    body = {
        "id": "chatcmpl-0123456789abcdef0123456789abcdef",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "simulator",
        "choices": choices,
        "usage": usage,
    }
    return b"data: %s\n\n" % json.dumps(body).encode()


def choice(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, object]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


ROLE = event([choice({"role": "assistant", "content": ""})])
TOKEN = chunk(event([choice({"content": " token"})]))
FIRST = chunk(ROLE + event([choice({"content": "A"})]))


class Model(asyncio.Protocol):
    """One connection."""

    def __init__(self, first_token_s: float, token_s: float) -> None:
        self._first_token_s = first_token_s
        self._token_s = token_s
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own, which is no subclass of it
        self._parser = httptools.HttpRequestParser(self)
        self._body = bytearray()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        wanted = _WANTED.findall(self._body)
        self._body.clear()
        if not wanted:
            self._transport.write(_SMALL)
            return
        self._transport.write(_HEAD)
        self._left = int(wanted[-1])
        self._total = self._left
        self._due = asyncio.get_running_loop().time() + self._first_token_s
        self._wait()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_at(self._due, self._send)

    def _send(self) -> None:
        self._transport.write(FIRST if self._left == self._total else TOKEN)
        self._left -= 1
        self._due += self._token_s
        if self._left > 0:
            self._wait()
            return
        usage = {"prompt_tokens": 900, "completion_tokens": self._total, "total_tokens": 900 + self._total}
        ending = event([choice({}, "stop")]) + event([], usage) + b"data: [DONE]\n\n"
        self._transport.write(chunk(ending) + b"0\r\n\r\n")

    def connection_lost(self, _: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()


async def serve(port: int, first_token_s: float, token_s: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Model(first_token_s, token_s), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
