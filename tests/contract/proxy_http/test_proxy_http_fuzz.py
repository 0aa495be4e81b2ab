"""Broken requests and broken answers through the hop: it never fails, hangs or keeps anything."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from typing import Any

import psutil
import pytest

from chaos.proxy.evidence import Evidence
from chaos.proxy.http.conversation import Conversation
from chaos.proxy.http.faults import HttpFaultSpec, http_fault_kinds
from chaos.proxy.http.hop import Hop
from chaos.proxy.http.peer import Peer

pytestmark = pytest.mark.slow

EXCHANGES = 10_000
AT_ONCE = 32
PATIENCE_S = 30.0
TOKEN = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
REQUESTS = [
    b"GET /a HTTP/1.1\r\nhost: h\r\n\r\n",
    b"GET /a HTTP/1.1\r\nhost: h\r\n\r\nGET /b HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
    b'POST /s HTTP/1.1\r\nhost: h\r\ncontent-length: 23\r\n\r\n{"vectors": [[1, 2, 3]]}',
    b"POST /c HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n",
    b"PUT /e HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\nabc",
    b"HEAD /h HTTP/1.0\r\n\r\n",
]
ANSWERS = [
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 24\r\n\r\n"
    b'{"results":[[{"id":1}]]}',
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    + b"%x\r\n%s\r\n" % (len(TOKEN) * 4, TOKEN * 4)
    + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + TOKEN * 3,
    b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
    b"",
]
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("http_error", {"status": 500}),
    ("slow_body", {"bytes_per_s": 10_000}),
    ("malformed_json", {"how": "garbled"}),
    ("empty_results", {}),
    ("shuffled_results", {}),
    ("stale_results", {}),
    ("wrong_dimension", {}),
    ("slow_first_token", {"delay_s": 0.001}),
    ("slow_tokens", {"delay_s": 0.001}),
    ("stall", {"after_tokens": 1, "for_s": 0.002, "ping_s": 0.001}),
    ("cut", {"after_tokens": 3, "how": "reset"}),
    ("truncate", {"after_tokens": 2}),
    ("malformed_chunk", {"after_tokens": 1}),
    ("done_after_abort", {"after_tokens": 3}),
]


def broken(data: bytes, rng: random.Random) -> bytes:
    """The same with up to three wounds: bytes changed, lost, doubled, or the rest missing."""
    wounded = bytearray(data)
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(wounded) + 1)
        match rng.randrange(5):
            case 0:
                wounded[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del wounded[at : at + rng.randrange(1, 9)]
            case 2:
                wounded[at:at] = wounded[at : at + rng.randrange(1, 40)]
            case 3:
                wounded[at:at] = rng.choice([b"\r\n", b"\n\n", b":", b"\x00", b"0\r\n\r\n", b"f" * 20])
            case 4:
                del wounded[at:]
    return bytes(wounded)


class Client(asyncio.Protocol):
    """Sends in pieces, hears until the end."""

    def __init__(self) -> None:
        self.connection = self
        self.over = asyncio.Event()
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - any loss is an end
        self.over.set()

    def end_with_reset(self) -> None:
        """What the hop says before a reset."""


async def one(hop: Hop, upstream: str, number: int) -> None:
    """One broken exchange; it must come to an end."""
    rng = random.Random(number)
    client = Client()
    await hop.dial(number, upstream)(asyncio.get_running_loop(), lambda: client)  # type: ignore[arg-type, return-value]
    data = broken(rng.choice(REQUESTS), rng)
    at = 0
    while at < len(data):
        size = rng.choice([1, 7, 1000])
        client.transport.write(data[at : at + size])
        at += size
        await asyncio.sleep(0)
    if rng.random() < 0.5:
        client.transport.write(rng.choice(REQUESTS))
    await asyncio.sleep(rng.choice([0, 0.001, 0.01]))
    match rng.randrange(3):
        case 0:
            client.transport.write_eof()
        case 1:
            client.transport.abort()
        case _:
            client.transport.close()
    async with asyncio.timeout(PATIENCE_S):
        await client.over.wait()


async def fuzz() -> tuple[Hop, int]:
    answering = random.Random(1)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(65536):
                said = broken(answering.choice(ANSWERS), answering)
                half = answering.randrange(len(said) + 1)
                writer.write(said[:half])
                await asyncio.sleep(0)
                writer.write(said[half:])
                if answering.random() < 0.3:
                    break
            if answering.random() < 0.2:
                writer.transport.abort()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    upstream = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    evidence = Evidence()
    hop = Hop("p", random.Random(1), evidence)
    for type_, attributes in FAULTS:
        read = http_fault_kinds()[type_].read(attributes)
        hop.faults.add(HttpFaultSpec(type_, type_, read, probability=0.1))
    for first in range(0, EXCHANGES, AT_ONCE):
        await asyncio.gather(*(one(hop, upstream, number) for number in range(first, first + AT_ONCE)))
    async with asyncio.timeout(PATIENCE_S):
        while hop.open:
            await asyncio.sleep(0.01)
    server.close()
    await asyncio.sleep(0.1)
    struck = sum(evidence.struck.values())
    for armed in hop.faults.armed:  # each hit is a record, however its request ended
        assert armed.hits == armed.taken == evidence.struck["p", armed.type], armed.type
    return hop, struck


def open_files() -> int:
    return psutil.Process().num_fds()


def test_no_broken_exchange_harms_the_hop(caplog: pytest.LogCaptureFixture) -> None:
    """10,000 of them, with every fault in: no error in the log, no hit without its record, nothing left."""
    before = open_files()
    with caplog.at_level(logging.WARNING):
        hop, struck = asyncio.run(fuzz())
    said = [
        each.getMessage() for each in caplog.records if each.name.startswith("chaos") or each.levelno > 30
    ]
    assert said == []  # asyncio warns of what this test writes to closed sockets
    assert struck > EXCHANGES / 50, "hardly any fault struck: the exchanges are too broken to show anything"
    gc.collect()
    left = [each for each in gc.get_objects() if isinstance(each, Peer | Conversation)]
    assert (hop.open, left) == (0, [])
    assert open_files() <= before
