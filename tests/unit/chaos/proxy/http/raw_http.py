"""What the tests of the hop say and hear on raw sockets."""

from __future__ import annotations

import json
from asyncio import StreamReader, StreamWriter
from typing import Any

GET = b"GET /x?q=1 HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 Fine\r\nX-Spelling: Kept\r\ncontent-length: 2\r\n\r\nhi"


async def head_of(reader: StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def answers(*said: bytes, seen: list[bytes] | None = None) -> Any:
    """An upstream that gives these answers, one for each request without a body, and then waits."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        for answer in said:
            head = await head_of(reader)
            if seen is not None:
                seen.append(head)
            writer.write(answer)
        await reader.read()

    return serve


def body_of(answer: bytes) -> dict[str, Any]:
    return dict(json.loads(answer.partition(b"\r\n\r\n")[2]))
