"""Clients that are slow, silent, endless or wrong, in numbers, against the real process on real sockets.

The rule behind all of them: whatever they do, each costs the service a bounded amount for a bounded time, and
a well-behaved client gets its answer meanwhile and afterwards.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.slow

LIMIT_S = 1.0
MAX_CONNECTIONS = 400
BODY = json.dumps({"question": "rename a file", "stream": True}).encode()
HEAD = (
    b"POST /v1/answers HTTP/1.1\r\nhost: service\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n" % len(BODY)
)


class EndlessModel(ThreadingHTTPServer):
    """A model server of endless answers in tokens of 32 KiB, which counts who still listens."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Endless)
        self.listening = 0
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def count(self, change: int) -> None:
        with self.lock:
            self.listening += change


class _Endless(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        assert isinstance(self.server, EndlessModel)
        self.rfile.read(int(self.headers["content-length"]))
        choice = {"index": 0, "delta": {"content": "x" * 32_768}, "finish_reason": None}
        piece = f"data: {json.dumps({'choices': [choice]})}\n\n".encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.server.count(+1)
        try:
            with suppress(OSError):
                while True:
                    self.wfile.write(piece)
        finally:
            self.server.count(-1)


@pytest.fixture(scope="module")
def service(start_model_server: Callable[..., Any], start_service: Callable[..., Any]) -> Any:
    model_server = start_model_server(first_token="5ms", token="1ms")
    return start_service(
        model_server.port,
        head_timeout_s=str(LIMIT_S),
        body_timeout_s=str(LIMIT_S),
        write_timeout_s=str(LIMIT_S),
        max_connections=str(MAX_CONNECTIONS),
    )


def answers(service: Any) -> bool:
    response = httpx.post(
        f"{service.url}/v1/answers", json={"question": "rename a file"}, timeout=10.0, trust_env=False
    )
    return response.status_code == 200


def gauge(service: Any, name: str) -> float:
    text = httpx.get(f"{service.url}/metrics", trust_env=False).text
    (value,) = re.findall(rf"^{name} (\S+)$", text, flags=re.MULTILINE)
    return float(value)


def wait_until(happens: Callable[[], bool], within_s: float) -> None:
    ends = time.monotonic() + within_s
    while not happens():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.05)


@contextmanager
def connections(service: Any, count: int) -> Iterator[list[socket.socket]]:
    opened: list[socket.socket] = []
    try:
        for _ in range(count):
            opened.append(socket.create_connection(("127.0.0.1", service.port), timeout=10.0))
        yield opened
    finally:
        for one in opened:
            one.close()


def said(connection: socket.socket, within_s: float) -> bytes:
    """Everything until the service closes."""
    connection.settimeout(within_s)
    found = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            found += piece
    return found


def status(response: bytes) -> int:
    return int(response.split(b" ", 2)[1]) if response else 0


def test_connections_that_say_nothing_are_closed(service: Any) -> None:
    """300 of them, after the limit; a client that asks is answered meanwhile."""
    with connections(service, 300) as opened:
        assert answers(service)
        assert {said(one, within_s=LIMIT_S * 5) for one in opened} == {b""}


def test_headers_that_come_a_byte_at_a_time_get_408(service: Any) -> None:
    """The limit is for all of them together, so dripping does not extend it."""
    started = time.monotonic()
    with connections(service, 1) as (one,):
        response = b""
        with suppress(OSError):
            for byte in HEAD[:-2]:
                one.sendall(bytes([byte]))
                one.settimeout(0.05)
                with suppress(TimeoutError):
                    response = one.recv(65_536)
                    break
        assert status(response) == 408
    assert time.monotonic() - started < LIMIT_S * 3


def test_a_body_that_comes_slowly_gets_408(service: Any) -> None:
    """100 such callers at once, each refused after the limit; a client that asks is answered meanwhile."""
    with connections(service, 100) as opened:
        for one in opened:
            one.sendall(HEAD + BODY[:5])
        assert answers(service)
        assert {status(said(one, within_s=LIMIT_S * 5)) for one in opened} == {408}


def test_endless_headers_are_refused(service: Any) -> None:
    """431 at 64 KiB, not memory."""
    with connections(service, 1) as (one,):
        with suppress(OSError):
            one.sendall(HEAD[:-2] + b"x-filler: " + b"x" * 200_000)
        assert status(said(one, within_s=5.0)) in (431, 0)  # 0: closed while we were still sending
    assert answers(service)


def test_an_endless_body_is_refused(service: Any) -> None:
    """413 after 64 KiB although more was promised, and the connection closes."""
    head = HEAD.replace(b"content-length: %d" % len(BODY), b"transfer-encoding: chunked")
    with connections(service, 1) as (one,):
        with suppress(OSError):
            one.sendall(head)
            for _ in range(100):
                one.sendall(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        assert status(said(one, within_s=5.0)) in (413, 0)
    assert answers(service)


def test_half_a_second_request_does_not_spoil_the_first_ones_answer(
    start_model_server: Callable[..., Any], start_service: Callable[..., Any]
) -> None:
    """The limit of headers passes during a stream: its bytes stay its own, then the connection ends."""
    model_server = start_model_server(first_token="60ms", token="60ms")
    service = start_service(model_server.port, head_timeout_s="0.5", generate__max_tokens="40")
    with connections(service, 1) as (one,):
        one.sendall(HEAD + BODY + HEAD[:20])
        stream, _, rest = said(one, within_s=10.0).partition(b"0\r\n\r\n")
        assert status(stream) == 200
        assert stream.count(b"event: done") == 1
        assert b"408" not in stream
        assert status(rest) in (0, 408)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x01\x02\xff" * 100,
        b"GET\r\n\r\n",
        b"POST /v1/answers HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS, spoken to plain HTTP
        b"POST /v1/answers HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/answers HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /v1/answers%00%ff HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused(service: Any, garbage: bytes) -> None:
    """A 4xx or a closed connection, never a 500."""
    with connections(service, 1) as (one,):
        one.sendall(garbage)
        response = said(one, within_s=LIMIT_S * 8)
        assert response == b"" or 400 <= status(response) < 500
    assert answers(service)


def test_one_connection_too_many_is_refused(service: Any) -> None:
    """503 with `Retry-After` at once, instead of one more file descriptor; room comes back."""
    with connections(service, MAX_CONNECTIONS + 50) as opened:
        time.sleep(0.2)
        assert service.open_files() < MAX_CONNECTIONS + 150
        refused = [one for one in opened if status(said(one, within_s=LIMIT_S * 5)) == 503]
        assert len(refused) >= 50
    wait_until(lambda: answers(service), within_s=5.0)


def test_thousands_of_bad_clients_leave_nothing_behind(service: Any) -> None:
    """2,000 that hang up in mid-request or mid-answer: memory, descriptors and log stay small."""
    assert answers(service)
    files, memory = service.open_files(), service.memory_bytes()

    async def bad(kind: int) -> None:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
            writer.write((HEAD + BODY, HEAD + BODY[:3], HEAD[:20], b"", b"\x00\r\n\r\n")[kind % 5])
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(10), 0.02)
            writer.close()

    async def crowd() -> None:
        gate = asyncio.Semaphore(100)

        async def one(kind: int) -> None:
            async with gate:
                await bad(kind)

        await asyncio.gather(*(one(kind) for kind in range(2000)))

    asyncio.run(crowd())
    wait_until(lambda: gauge(service, "rag_in_flight") == 0.0, within_s=10.0)
    wait_until(lambda: service.open_files() <= files + 20, within_s=10.0)
    assert service.memory_bytes() < memory + 64 * 1024 * 1024
    assert answers(service)
    log = service.log.read_text()
    assert "Traceback" not in log
    assert len(log) < 20_000, "callers could fill the disk"


def stalled(service: Any, model: EndlessModel, *, wait_s: float) -> float:
    """Places that 6 clients who never read an endless answer still hold after `wait_s`."""
    with connections(service, 6) as opened:
        for one in opened:
            one.sendall(HEAD + BODY)
        wait_until(lambda: model.listening >= 3, within_s=20.0)  # on a busy machine some get a fallback
        assert gauge(service, "rag_in_flight") >= 3
        ends = time.monotonic() + wait_s
        while time.monotonic() < ends and gauge(service, "rag_in_flight") > 0.0:
            time.sleep(0.05)
        held = gauge(service, "rag_in_flight")
        if held == 0.0:
            wait_until(lambda: model.listening == 0, within_s=2.0)
        return held


@pytest.mark.parametrize(
    ("write_timeout_s", "deadline_s", "frees"),
    [("1", "20", True), ("60", "6", True), ("60", "60", False)],
    ids=["write limit", "deadline", "neither"],
)
def test_readers_that_stall_hold_nothing(
    start_service: Any, write_timeout_s: str, deadline_s: str, frees: bool
) -> None:
    """Write limit or deadline, whichever is first, frees place and model slot; with neither they stay."""
    model = EndlessModel()
    limits = {"write_timeout_s": write_timeout_s, "deadline_s": deadline_s, "max_deadline_s": "60"}
    service = start_service(model.server_port, **limits)
    try:
        assert (stalled(service, model, wait_s=10.0) == 0.0) is frees
    finally:
        model.shutdown()
        service.stop()
