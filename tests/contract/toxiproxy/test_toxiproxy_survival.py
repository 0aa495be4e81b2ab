"""What kills, wedges or blinds Toxiproxy, on a server of its own for each case, and what does not the other.

These are the deviations that the built-in proxy is there for: each is shown on both sides.
"""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

pytestmark = pytest.mark.slow

Connect = Callable[..., Any]
Start = Callable[[Callable[[socket.socket], None]], str]

linux_only = pytest.mark.skipif(
    sys.platform != "linux", reason="how a full backlog treats a SYN is Linux's own"
)
DEADLY = [
    ("slicer", {}),
    ("slicer", {"average_size": 10, "size_variation": 1000}),
    ("slicer", {"average_size": -5, "size_variation": 0}),
    ("bandwidth", {"rate": -1}),
    ("bandwidth", {"rate": 10**17}),
    ("latency", {"latency": 1, "jitter": 2**62}),
]


def sending(data: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.recv(1)

    return serve


def died(process: subprocess.Popen[bytes]) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(30)
        return True
    return False


@pytest.mark.parametrize(("toxic", "attributes"), DEADLY, ids=lambda each: str(each).replace(" ", ""))
def test_documented_deviation_values_that_kill(
    start_server: Any, kind: str, upstream: Start, toxic: str, attributes: dict[str, int]
) -> None:
    """One connection through such a toxic ends Toxiproxy; the built-in proxy refuses it or bears it."""
    server = start_server(kind)
    address = server.proxy(upstream(sending(b"x" * 300_000)))
    body = {"type": toxic, "attributes": attributes}
    added = server.ask("POST", "/proxies/p/toxics", body)
    bears = attributes.get("rate") == 10**17 or toxic == "latency"
    assert added.status_code == (400 if server.is_builtin and not bears else 200)
    with socket.create_connection(address) as client, contextlib.suppress(OSError):
        client.settimeout(0.3 if server.is_builtin and bears else 10)
        got = 0
        while got < 300_000 and (data := client.recv(65536)):
            got += len(data)
    if server.is_builtin:
        assert server.ask("GET", "/version").status_code == 200
    else:
        assert died(server.process)


@pytest.fixture
def stuck(server: Any, upstream: Start) -> Iterator[socket.socket]:
    """A client that does not read, on a proxy with a latency, until everything between is full."""

    full = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            while True:
                connection.sendall(b"x" * 65536)
        full.set()
        threading.Event().wait(60)

    address = server.proxy(upstream(serve), "stuck")
    server.proxy("127.0.0.1:9", "other")
    server.toxic("latency", proxy="stuck", latency=20)
    with socket.create_connection(address) as client:
        assert full.wait(20)
        yield client
        server.ask("DELETE", "/proxies/stuck")


def hangs(server: Any, method: str, path: str, body: Any = None) -> bool:
    """Whether the call is not answered; that Toxiproxy holds it for 25 s has a test of its own."""
    try:
        limit_s = 20.0 if server.is_builtin else 0.7
        return bool(server.ask(method, path, body, timeout=limit_s).status_code == 503)
    except requests.Timeout:
        return True


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/proxies/stuck/toxics", {"type": "noop"}),
        ("POST", "/proxies/stuck/toxics/latency_downstream", {"attributes": {"latency": 30}}),
        ("DELETE", "/proxies/stuck/toxics/latency_downstream", None),
        ("POST", "/reset", None),
    ],
    ids=["add", "update", "remove", "reset"],
)
def test_documented_deviation_a_client_that_does_not_read(
    server: Any, stuck: socket.socket, method: str, path: str, body: Any
) -> None:
    """It holds up calls about toxics in Toxiproxy, the list as well; DELETE of the proxy frees it at once."""
    assert hangs(server, method, path, body) != server.is_builtin
    assert hangs(server, "GET", "/proxies") != server.is_builtin
    assert hangs(server, "GET", "/proxies/stuck") != server.is_builtin
    assert server.ask("GET", "/proxies/other").status_code == 200
    started_s = time.perf_counter()
    assert server.ask("DELETE", "/proxies/stuck").status_code == 204
    assert time.perf_counter() - started_s < 2
    assert sorted(server.ask("GET", "/proxies").json()) == ["other"]
    stuck.close()


def test_disabling_first_is_safe(server: Any, stuck: socket.socket) -> None:  # noqa: ARG001
    """Disable, remove the toxic, enable: on both servers each is done at once."""
    started_s = time.perf_counter()
    assert server.ask("POST", "/proxies/stuck", {"enabled": False}).status_code == 200
    server.untoxic("latency_downstream", "stuck")
    assert server.ask("POST", "/proxies/stuck", {"enabled": True}).status_code == 200
    assert time.perf_counter() - started_s < 2


def test_a_client_that_reads_on_frees_what_hangs(server: Any, upstream: Start) -> None:
    """Once it reads, all that was sent arrives whole, and the call about the toxic is answered."""
    data = random.Random(7).randbytes(24_000_000)
    address = server.proxy(upstream(sending(data)), "stuck")
    server.toxic("latency", proxy="stuck", latency=20)
    answers: list[int] = []

    def remove() -> None:
        path = "/proxies/stuck/toxics/latency_downstream"
        answers.append(server.ask("DELETE", path, timeout=20).status_code)

    with socket.create_connection(address) as client:
        time.sleep(0.5)
        caller = threading.Thread(target=remove, daemon=True)
        caller.start()
        time.sleep(0.5)
        assert (answers == []) != server.is_builtin
        client.settimeout(10)
        got = bytearray()
        while len(got) < len(data):
            piece = client.recv(1 << 20)
            assert piece, "the connection ended early"
            got += piece
        caller.join(20)
    assert answers == [204]
    assert bytes(got) == data


def full_listener() -> socket.socket:
    """A port that takes no further connection: its backlog is full, and nobody accepts."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    for _ in range(3):
        each = socket.socket()
        each.setblocking(False)
        each.connect_ex(listener.getsockname())
        weakref.finalize(listener, each.close)
    time.sleep(0.1)
    return listener


@linux_only
def test_documented_deviation_disabling_while_it_dials(server: Any, connect: Connect) -> None:
    """While Toxiproxy dials an upstream that does not answer, even disabling hangs; not so the other."""
    listener = full_listener()
    address = server.proxy("{}:{}".format(*listener.getsockname()))
    connect(address)
    time.sleep(0.3)
    assert hangs(server, "POST", "/proxies/p", {"enabled": False}) != server.is_builtin
    listener.close()


def test_documented_deviation_the_seed(start_server: Any, kind: str, echo: str, connect: Connect) -> None:
    """`-seed` makes chance repeat in the built-in proxy; in Toxiproxy it has done nothing since 2.9.0."""

    def struck() -> list[bool]:
        flag = "--seed" if kind == "builtin" else "-seed"
        server = start_server(kind, flag, "7")
        address = server.proxy(echo)
        server.toxic("limit_data", toxicity=0.5, bytes=0)
        found = []
        for _ in range(40):
            client = connect(address)
            client.sendall(b"x")
            found.append(client.recv(1) == b"")
        return found

    first, second = struck(), struck()
    assert {True, False} == set(first)
    assert (first == second) == (kind == "builtin")


@linux_only
def test_documented_deviation_an_upstream_that_does_not_accept(server: Any, connect: Connect) -> None:
    """Toxiproxy dials one client after the other, so one that waits holds up the next; not so the other."""
    listener = full_listener()
    address = server.proxy("{}:{}".format(*listener.getsockname()))
    first = connect(address)  # its dial meets a full backlog: the next SYN goes out after a second
    time.sleep(0.2)
    listener.settimeout(0.1)
    with contextlib.suppress(TimeoutError):
        while True:
            listener.accept()[0].close()
    started_s = time.perf_counter()
    second = connect(address)
    listener.settimeout(10)
    accepted, _ = listener.accept()
    took_s = time.perf_counter() - started_s
    accepted.close()
    listener.close()
    assert took_s < 0.4 if server.is_builtin else took_s >= 0.4
    first.close()
    second.close()
