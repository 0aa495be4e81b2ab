"""How long the API waits for a client: half a request, a call that hangs, an idle connection.

All waits run at the same time, on a server of each kind, so that the file takes the longest of them alone.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fault_proxies import fault_proxy

pytestmark = pytest.mark.slow

HALF_LINE = b"GET /version"
HALF_HEADER = b"GET /version HTTP/1.1\r\nHost: localhost\r\n"
HALF_BODY = b"POST /proxies HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{"
WHOLE = b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass(frozen=True)
class Waited:
    """What the server sent until it closed, and when that was."""

    answer: bytes
    took_s: float


def wait(server: Any, request: bytes, limit_s: float) -> Waited:
    started_s = time.perf_counter()
    answer = server.say(request, limit_s)
    return Waited(answer, time.perf_counter() - started_s)


def hung_call(server: Any) -> Waited:
    """Removing a toxic while a client does not read."""
    upstream = socket.create_server(("127.0.0.1", 0))
    address = server.proxy(f"127.0.0.1:{upstream.getsockname()[1]}", "stuck")
    server.toxic("latency", proxy="stuck", latency=20)
    with socket.create_connection(address):
        source, _ = upstream.accept()
        source.settimeout(0.5)
        with contextlib.suppress(OSError):
            while True:
                source.sendall(b"x" * 65536)
        started_s = time.perf_counter()
        answer = server.ask("DELETE", "/proxies/stuck/toxics/latency_downstream", timeout=40)
        took_s = time.perf_counter() - started_s
        server.ask("DELETE", "/proxies/stuck")
        source.close()
    upstream.close()
    head = f"{answer.status_code} {answer.headers.get('content-type')}\n".encode()
    return Waited(head + answer.content, took_s)


@pytest.fixture(scope="module")
def waits(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[tuple[str, str], Future[Waited]]]:
    """Every wait on both servers, begun at once. The hung call has a server to itself: it holds up others."""
    folder = tmp_path_factory.mktemp("waits")
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(16))
        found = {}
        for kind in ("toxiproxy", "builtin"):
            server = stack.enter_context(fault_proxy(folder, kind=kind))
            for name, request, limit_s in (
                ("line", HALF_LINE, 30.0),
                ("header", HALF_HEADER, 30.0),
                ("body", HALF_BODY, 30.0),
                ("silence", b"", 30.0),
                ("idle", WHOLE, 75.0),
            ):
                found[kind, name] = pool.submit(wait, server, request, limit_s)
            found[kind, "hung"] = pool.submit(hung_call, stack.enter_context(fault_proxy(folder, kind=kind)))
        yield found
        for each in found.values():
            each.exception()


def waited(waits: Any, kind: str, name: str) -> Waited:
    result: Waited = waits[kind, name].result(120)
    return result


def test_half_a_request_line(waits: Any, kind: str) -> None:
    """15 s after it began, a request without the end of its first line is a 400."""
    found = waited(waits, kind, "line")
    assert 14.5 <= found.took_s < 18
    assert found.answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert found.answer.endswith(b"400 Bad Request")


def test_half_a_header(waits: Any, kind: str) -> None:
    """15 s after it began, a request without the end of its header is closed without a word."""
    found = waited(waits, kind, "header")
    assert 14.5 <= found.took_s < 18
    assert found.answer == b""


def test_half_a_body(waits: Any, kind: str) -> None:
    """15 s after it began, a request without the end of its body is a 503 with nothing in it."""
    found = waited(waits, kind, "body")
    assert 14.5 <= found.took_s < 18
    head, _, body = found.answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable")
    assert body == b""


def test_a_connection_that_says_nothing(waits: Any, kind: str) -> None:
    """15 s after it was opened, a connection without a request is closed without a word."""
    found = waited(waits, kind, "silence")
    assert 14.5 <= found.took_s < 18
    assert found.answer == b""


def test_a_connection_that_is_idle(waits: Any, kind: str) -> None:
    """60 s after its last answer, a connection is closed; hence no client here pools them."""
    found = waited(waits, kind, "idle")
    assert found.answer.startswith(b"HTTP/1.1 200 OK")
    assert 59 <= found.took_s < 65


def test_documented_deviation_a_call_that_hangs(waits: Any, kind: str) -> None:
    """Toxiproxy gives up after 25 s with 77 bytes of HTML; the built-in proxy never waits for a client."""
    found = waited(waits, kind, "hung")
    if kind == "builtin":
        assert found.answer.startswith(b"204 ")
        assert found.took_s < 5
    else:
        page = b"<html><head><title>Timeout</title></head><body><h1>Timeout</h1></body></html>"
        assert len(page) == 77
        assert found.answer.startswith(b"503 ")
        assert found.answer.endswith(page)
        assert 24.5 <= found.took_s < 30
