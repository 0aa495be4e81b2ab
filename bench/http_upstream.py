"""`python -m bench.http_upstream PORT`: answers without thinking, for where nginx is not at hand.

`GET /` gets a hundred bytes, `GET /bulk` 16 MiB. It reads no more of a request than where it ends: the client
is bench's own, or wrk.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

SMALL_BYTES = 100
BULK_BYTES = 16 * 1024 * 1024
_BULK = b"GET /bulk "


def answer(size: int) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n"
    return head.encode() + b"x" * size


class Answers(asyncio.Protocol):
    small = answer(SMALL_BYTES)
    bulk = answer(BULK_BYTES)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._kept = b""

    def data_received(self, data: bytes) -> None:
        data = self._kept + data
        count = data.count(b"\r\n\r\n")
        self._kept = data[data.rindex(b"\r\n\r\n") + 4 :] if count else data
        if count:
            self._transport.write((self.bulk if data.startswith(_BULK) else self.small) * count)


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answers, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
