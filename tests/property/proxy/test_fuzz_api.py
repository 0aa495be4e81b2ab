"""Ten thousand malformed requests to the API, as bytes on its socket, from one seed.

None may kill it, hang it or make it grow without end, and what it answers is HTTP with a status of its own
choosing: an internal error is a failure here even if the next request is served.
"""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.property.proxy.server import Attacked, attacked

pytestmark = pytest.mark.slow

REQUESTS = 10_000
BATCH = 500
AT_ONCE = 50
PATIENCE_S = 5.0
SEED = 20_12
#: Resident memory may gain this after the first tenth: arenas, not a kilobyte for each request.
MOST_GAINED_BYTES = 24 * 1024 * 1024

WORDS = [
    "",
    "p",
    "x" * 300,
    "..",
    "a/b",
    "é",
    "\U0001f600",
    "\x00",
    "\ud800",
    "%2e",
    "p\r\nX: y",
    " ",
    '"',
    "\\",
]
NUMBERS = [
    *("0", "-1", "1.5", "100.0", "1e3", "1e999", "-1e999", "1e-999", "9" * 30, "9" * 5000, "-" + "9" * 400),
    *("9223372036854775808", "0x10", "01", "NaN", "Infinity", "-", "1e", "."),
]
ADDRESSES = [
    *("127.0.0.1:0", "127.0.0.1:1", "nope", ":99999", "127.0.0.1:abc", "127.0.0.1:-1", "[::1]:0", "[::1"),
    *("::1:0", "\x00:1", "127.0.0.1:" + "9" * 400, "127.0.0.1"),
]
TYPES = [
    *("latency", "bandwidth", "slicer", "slow_close", "timeout", "reset_peer", "limit_data", "noop", "nope"),
    "latency_distribution",
]
KEYS = [
    *("name", "listen", "upstream", "enabled", "type", "stream", "toxicity", "attributes", "latency", "rate"),
    *("jitter", "average_size", "size_variation", "bytes", "http", "lease", "ttl_s", "NAME", "__proto__"),
]
PATHS = [
    *("/version", "/proxies", "/proxies/p", "/proxies/p/toxics", "/proxies/p/toxics/t", "/populate"),
    *("/reset", "/proxies/p/http_faults", "/leases", "/leases/l", "/evidence", "/metrics", "/", "*", "//"),
    *("/proxies/%00", "/proxies/%ff%fe", "/proxies/" + "a" * 9000, "/proxies/p?" + "b=c&" * 500),
    "http://[::1/proxies",
]
HEADERS = [
    *("Transfer-Encoding: chunked", "Transfer-Encoding: gzip", "Connection: Upgrade\r\nUpgrade: websocket"),
    *("Expect: 100-continue", "A" * 70_000 + ": b", "B: " + "c" * 70_000, "User-Agent: Mozilla/5.0"),
    *(": nameless", "D\x00: e", "\r\n", "Connection: close", "Host: y"),
]
METHODS = ["GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "BREW", "get", ""]


class Attacker:
    """Malformed requests; the same seed makes the same ones."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def value(self, depth: int = 0) -> Any:
        """Any JSON value, as Python or as spelled."""
        pick = self.rng.randrange(8 if depth < 3 else 5)
        if pick == 0:
            return self.rng.choice([None, True, False])
        if pick in (1, 2):
            return Spelled(self.rng.choice(NUMBERS))
        if pick in (3, 4):
            return self.rng.choice(WORDS + TYPES + ADDRESSES)
        if pick == 5:
            return [self.value(depth + 1) for _ in range(self.rng.randrange(4))]
        return {self.rng.choice(KEYS): self.value(depth + 1) for _ in range(self.rng.randrange(5))}

    def body(self) -> bytes:
        kind = self.rng.randrange(7)
        if kind == 0:
            return spelled(self.value())
        if kind == 1:  # a proxy, nearly right
            proxy = {
                "name": self.rng.choice(WORDS),
                "listen": self.rng.choice(ADDRESSES),
                "upstream": self.rng.choice([*ADDRESSES, ""]),
                "enabled": False,
            }
            proxy[self.rng.choice(KEYS)] = self.value(2)
            return spelled(proxy if self.rng.random() < 0.7 else [proxy, proxy])
        if kind in (2, 3):  # a toxic, nearly right
            attributes = {self.rng.choice(KEYS): self.value(2) for _ in range(self.rng.randrange(3))}
            toxic = {
                "name": self.rng.choice(["t", *WORDS]),
                "type": self.rng.choice(TYPES),
                "attributes": attributes,
            }
            toxic[self.rng.choice(KEYS)] = self.value(2)
            return spelled(toxic)
        if kind == 4:
            opening = self.rng.choice([b"[", b'{"a":', b'[{"attributes":', b'{"attributes":['])
            return opening * self.rng.choice([10, 900, 1100, 20_000])
        if kind == 5:
            return self.rng.randbytes(self.rng.choice([1, 10, 1000]))
        return self.flipped(spelled({"type": "latency", "attributes": {"latency": 5}, "toxicity": 0.5}))

    def flipped(self, data: bytes) -> bytes:
        """A few bytes changed, left out, doubled, or the rest cut off."""
        changed = bytearray(data)
        for _ in range(self.rng.randrange(1, 4)):
            at = self.rng.randrange(max(len(changed), 1))
            way = self.rng.randrange(4)
            if way == 0 and changed:
                changed[at] = self.rng.randrange(256)
            elif way == 1:
                del changed[at : at + 1]
            elif way == 2:
                changed[at:at] = changed[at : at + 3]
            else:
                del changed[at:]
        return bytes(changed)

    def request(self) -> bytes:
        method, path = self.rng.choice(METHODS), self.rng.choice(PATHS)
        if self.rng.random() < 0.6:
            method, path = "POST", self.rng.choice(PATHS[:8])
        body = self.body()
        length = self.rng.choice([str(len(body))] * 12 + ["-1", "abc", "9" * 30, "0", str(len(body) + 10)])
        headers = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}"]
        if self.rng.random() < 0.1:
            headers.append(self.rng.choice(HEADERS))
        raw = "\r\n".join(headers).encode("latin-1", "replace") + b"\r\n\r\n" + body
        way = self.rng.random()
        if way < 0.15:
            return raw[: self.rng.randrange(len(raw))]
        if way < 0.30:
            return self.flipped(raw)
        if way < 0.33:
            return self.rng.randbytes(self.rng.choice([1, 100, 10_000]))
        if way < 0.331:
            return b"GET /version HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 1_500_000 + b"\r\n\r\n"
        if way < 0.332:
            return (
                b"POST /proxies HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n"
                + b"[" * 3_000_000
            )
        return raw


class Spelled(str):
    """A number as it stands."""


def spelled(value: Any) -> bytes:
    """JSON in which numbers are spelled as they were drawn."""
    if isinstance(value, Spelled):
        return value.encode()
    if isinstance(value, dict):
        return b"{" + b",".join(spelled(key) + b":" + spelled(each) for key, each in value.items()) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(spelled(each) for each in value) + b"]"
    return json.dumps(value).encode()


async def attack(port: int, request: bytes) -> bytes:
    """Send it, say that no more comes, and take what is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(PATIENCE_S):
            writer.write(request)
            writer.write_eof()
            return await reader.read()
    except (ConnectionError, OSError) as error:
        if isinstance(error, TimeoutError):
            raise
        return b""  # refused while it was still on its way
    finally:
        writer.transport.abort()


def check(request: bytes, answer: bytes) -> None:
    """Each answer is HTTP and deliberate; a 500 is the API's own, about an address."""
    if not answer:
        return
    status = answer[:12]
    assert status.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")), (request[:300], answer[:300])
    assert b"the proxy itself failed" not in answer, (request[:600], answer[:300])
    assert b"Internal Server Error\r\n" not in answer or b'"status":500' in answer, (
        request[:600],
        answer[:300],
    )


async def attack_in_batches(server: Attacked) -> tuple[int, int]:
    """Memory after the first tenth, and at the end; the server is asked how it is after each batch."""
    attacker = Attacker(random.Random(SEED))
    room = asyncio.Semaphore(AT_ONCE)
    early_bytes = 0

    async def one(request: bytes) -> None:
        async with room:
            check(request, await attack(server.port, request))

    for start in range(0, REQUESTS, BATCH):
        await asyncio.gather(*(one(attacker.request()) for _ in range(BATCH)))
        server.assert_well()
        server.clean()
        if start + BATCH == max(BATCH, REQUESTS // 10):
            early_bytes = server.memory_bytes()
    return early_bytes, server.memory_bytes()


def test_ten_thousand_malformed_requests(tmp_path: Path) -> None:
    """It lives, answers rightly after each 500, and neither memory nor descriptors pile up."""
    with attacked(tmp_path) as server:
        server.ask("POST", "/proxies", {"name": "p", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"})
        server.assert_well()
        before = server.descriptors()
        early_bytes, late_bytes = asyncio.run(attack_in_batches(server))
        server.assert_well()
        assert late_bytes - early_bytes < MOST_GAINED_BYTES
        assert server.descriptors() <= before + 8


def test_the_attack_is_the_same_each_time() -> None:
    """One seed, one attack: what it finds can be found again; and it is mostly malformed."""
    first, second = Attacker(random.Random(SEED)), Attacker(random.Random(SEED))
    requests_ = [first.request() for _ in range(300)]
    assert requests_ == [second.request() for _ in range(300)]
    assert len(set(requests_)) > 280


def test_a_server_that_grows_would_be_seen(tmp_path: Path) -> None:
    """Negative control: the memory that is measured is that of the process, and grows with what it keeps."""
    with attacked(tmp_path) as server:
        before = server.memory_bytes()
        name = "n" * 900_000
        for index in range(60):
            body = {"name": f"{index}{name}", "listen": "127.0.0.1:0", "upstream": "x:1", "enabled": False}
            assert server.ask("POST", "/proxies", body).status_code == 201
        assert server.memory_bytes() - before > MOST_GAINED_BYTES
