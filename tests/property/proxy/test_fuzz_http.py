"""Ten thousand malformed exchanges through a proxy that reads requests, with every fault on requests in it.

The client sends what is hardly HTTP, the upstream answers what is hardly HTTP, JSON or a stream of events.
None of it may kill the proxy, hang an exchange, leave a connection or make it grow; and what was never
malformed goes through as if nothing had happened.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from tests.property.proxy.server import Attacked, attacked

pytestmark = pytest.mark.slow

EXCHANGES = 10_000
BATCH = 500
AT_ONCE = 50
PATIENCE_S = 10.0
SETTLE_S = 10.0
SEED = 20_13
MOST_GAINED_BYTES = 32 * 1024 * 1024

EVENT = b'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
DONE = b"data: [DONE]\n\n"
RESULTS = json.dumps(
    {"stamp": "s", "results": [[{"id": "a", "score": 0.9}, {"id": "b", "score": 0.8}]]}
).encode()
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("http_error", {"status": 429, "retry_after_s": 1}),
    ("slow_body", {"delay_s": 0.001}),
    ("malformed_json", {"how": "garbled"}),
    ("empty_results", {}),
    ("wrong_dimension", {}),
    ("shuffled_results", {}),
    ("stale_results", {"behind": 1}),
    ("slow_first_token", {"delay_s": 0.001}),
    ("slow_tokens", {"delay_s": 0.001}),
    ("stall", {"after_tokens": 1, "for_s": 0.002, "ping_s": 0.001}),
    ("cut", {"after_tokens": 2, "how": "reset"}),
    ("truncate", {"after_tokens": 2}),
    ("malformed_chunk", {"after_tokens": 1}),
    ("done_after_abort", {"after_tokens": 2}),
]
STATUSES = ["200 OK", "200 OK", "200", "204 No", "304 N", "500 E", "101 S", "99 X", "1000"]
HEAD_LINES = [
    *("Content-Length: 5", "Content-Length: -1", "Content-Length: 9" + "9" * 30, "Content-Length: x"),
    *("Transfer-Encoding: chunked", "Transfer-Encoding: gzip", "Transfer-Encoding: chunked, chunked"),
    *("Connection: close", "Connection: Upgrade\r\nUpgrade: websocket", "Expect: 100-continue", "Trailer: x"),
    *(": nameless", "D\x00: e", "E", " folded: line", "F: " + "g" * 20_000, "Content-Encoding: gzip"),
    *("traceparent: 00-zz", "traceparent: " + "0" * 500, "Content-Type: text/event-stream; charset=latin-1"),
]


class Attacker:
    """Malformed requests and answers; the same seed makes the same ones."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def flipped(self, data: bytes) -> bytes:
        """A few bytes changed, left out, doubled, or the rest cut off."""
        changed = bytearray(data)
        for _ in range(self.rng.randrange(1, 5)):
            at = self.rng.randrange(max(len(changed), 1))
            way = self.rng.randrange(5)
            if way == 0 and changed:
                changed[at] = self.rng.randrange(256)
            elif way == 1:
                del changed[at : at + 1]
            elif way == 2:
                changed[at:at] = changed[at : at + self.rng.randrange(1, 40)]
            elif way == 3:
                changed[at:at] = self.rng.choice(
                    [b"\r", b"\n", b"\r\n\r\n", b"\x00", b"\xff\xfe", b"data:", b"{", b"["]
                )
            else:
                del changed[at:]
        return bytes(changed)

    def request(self) -> bytes:
        path = self.rng.choice(
            ["/v1/chat/completions", "/search", "/", "*", "/%ff", "http://x/y", "/a b", "/" * 3000]
        )
        method = self.rng.choice(["GET", "POST", "POST", "POST", "HEAD", "CONNECT", "PUT", "BREW"])
        body = self.rng.choice(
            [
                b"",
                b'{"vectors":[[1,2,3,4]],"k":3}',
                b'{"stream":true}',
                b"[" * 3000,
                b'{"vectors":"no"}',
                b"\xff",
            ]
        )
        head = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
        if self.rng.random() < 0.3:
            head.insert(self.rng.randrange(1, 4), self.rng.choice(HEAD_LINES))
        raw = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body
        if self.rng.random() < 0.3:
            raw = self.flipped(raw)
        return raw * self.rng.choice([1, 1, 1, 2])

    def answer(self) -> bytes:
        """What the upstream says: a stream, JSON or text, right or nearly right or not at all."""
        kind = self.rng.randrange(6)
        if kind == 5:
            return self.rng.randbytes(self.rng.choice([0, 1, 500]))
        content_type, body = [
            ("text/event-stream", EVENT * self.rng.randrange(8) + DONE),
            ("text/event-stream", self.flipped(EVENT * 4 + DONE)),
            ("application/json", RESULTS),
            (
                "application/json",
                self.rng.choice([b"[" * 5000, b'{"results":', b"null", b"9" * 6000, b'"\\ud800"']),
            ),
            ("text/plain", b"x" * self.rng.choice([0, 1, 100_000])),
        ][kind]
        head = [f"HTTP/1.1 {self.rng.choice(STATUSES)}", f"Content-Type: {content_type}"]
        if self.rng.random() < 0.5:
            head.append("Transfer-Encoding: chunked")
            cut = self.rng.randrange(1, 300)
            pieces = [body[at : at + cut] for at in range(0, len(body), cut)]
            body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        elif self.rng.random() < 0.8:
            head.append(f"Content-Length: {len(body) + self.rng.choice([0, 0, 0, 1, -1])}")
        if self.rng.random() < 0.2:
            head.append(self.rng.choice(HEAD_LINES))
        raw = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body
        if self.rng.random() < 0.1:
            raw = b"HTTP/1.1 100 Continue\r\n\r\n" * self.rng.choice([1, 50]) + raw
        return self.flipped(raw) if self.rng.random() < 0.4 else raw


class Upstream:
    """Answers each connection's first bytes with something malformed, or, when `good`, as it should."""

    def __init__(self, attacker: Attacker) -> None:
        self.attacker = attacker
        self.good = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await reader.read(65536)
                if self.good:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(RESULTS) + RESULTS)
                else:
                    answer = self.attacker.answer()
                    cut = self.attacker.rng.randrange(1, len(answer) + 1) if answer else 0
                    writer.write(answer[:cut])
                    await writer.drain()
                    await asyncio.sleep(0)
                    writer.write(answer[cut:])
                await writer.drain()
        except (OSError, TimeoutError):
            pass
        finally:
            writer.close()


async def exchange(port: int, request: bytes, patience_s: float = 0.25) -> bytes:
    """Send it, and take what comes until the proxy closes or falls silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        writer.write(request)
        async with asyncio.timeout(patience_s):
            while piece := await reader.read(65536):
                answer += piece
    except (OSError, TimeoutError):
        pass  # half a request has no answer; what hangs is seen by the proxy's own count of connections
    finally:
        writer.transport.abort()
    return answer


async def attack_in_batches(server: Attacked) -> tuple[int, int]:
    attacker = Attacker(random.Random(SEED))
    upstream = Upstream(Attacker(random.Random(SEED + 1)))
    listening = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, backlog=1024)
    where = "{}:{}".format(*listening.sockets[0].getsockname())
    ports = {}
    for name, is_http in (("faulty", True), ("faithful", True)):
        body = {"name": name, "listen": "127.0.0.1:0", "upstream": where, "http": is_http}
        ports[name] = int(server.ask("POST", "/proxies", body).json()["listen"].rpartition(":")[2])
    for kind, attributes in FAULTS:
        body = {"name": kind, "type": kind, "attributes": attributes, "probability": 0.15}
        added = server.ask("POST", "/proxies/faulty/http_faults", body)
        assert added.status_code == 200, added.text
    room = asyncio.Semaphore(AT_ONCE)
    early_bytes = 0

    async def one(name: str, request: bytes) -> None:
        async with room:
            answer = await exchange(ports[name], request)
            assert not answer or answer.startswith(b"HTTP/1.1 "), (request[:300], answer[:300])

    for start in range(0, EXCHANGES, BATCH):
        names = (attacker.rng.choice(list(ports)) for _ in range(BATCH))
        await asyncio.gather(*(one(name, attacker.request()) for name in names))
        upstream.good = True
        good = await exchange(
            ports["faithful"], b"GET /search HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", PATIENCE_S
        )
        upstream.good = False
        assert good.endswith(RESULTS), good[:300]
        await asyncio.to_thread(server.assert_well)
        if start + BATCH == max(BATCH, EXCHANGES // 10):
            early_bytes = server.memory_bytes()
    late_bytes = server.memory_bytes()
    listening.close()
    return early_bytes, late_bytes


def test_ten_thousand_malformed_exchanges(tmp_path: Path) -> None:
    """It lives, says nothing but HTTP, serves a good request after each 500, lets go of each connection."""
    with attacked(tmp_path) as server:
        server.assert_well()  # its loop runs now, with all that takes
        before = server.descriptors()
        early_bytes, late_bytes = asyncio.run(attack_in_batches(server))
        ends_s = time.monotonic() + SETTLE_S
        while server.descriptors() > before + 4 and time.monotonic() < ends_s:
            time.sleep(0.05)
        server.assert_well()
        assert server.descriptors() <= before + 4  # the two proxies' ports, and a connection of the API
        assert late_bytes - early_bytes < MOST_GAINED_BYTES
