"""Connections through a proxy without a toxic: whole, bounded, and gone when they should be."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow

Connect = Callable[..., Any]
Start = Callable[[Callable[[socket.socket], None]], str]


def random_bytes(size: int) -> bytes:
    return random.Random(7).randbytes(size)


def source_of(data: bytes) -> Callable[[socket.socket], None]:
    """A server that sends `data` and closes."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.close()

    return serve


def test_bytes_pass_unchanged_without_a_toxic(server: Any, echo: str, connect: Connect) -> None:
    """A megabyte goes there and back as it was."""
    client = connect(server.proxy(echo))
    client.round_trip_s(random_bytes(1_000_000))


def test_the_end_of_the_answer_reaches_the_client(server: Any, upstream: Start, connect: Connect) -> None:
    """What the upstream sent before it closed arrives in full, then the end."""
    data = random_bytes(300_000)
    assert connect(server.proxy(upstream(source_of(data)))).read() == data


def test_a_client_that_leaves_is_seen_upstream(server: Any, upstream: Start, connect: Connect) -> None:
    """A client's hang-up ends the upstream's reading, so that it can free what it holds."""
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        while connection.recv(1024):
            pass
        ended.set()
        connection.close()

    client = connect(server.proxy(upstream(serve)))
    client.sendall(b"x")
    client.close()
    assert ended.wait(5)


def test_an_unreachable_upstream_ends_the_connection(server: Any, connect: Connect) -> None:
    """The proxy accepts, cannot reach the upstream, and the client reads the end."""
    assert connect(server.proxy("127.0.0.1:1")).read() == b""


def test_a_reader_that_pauses_gets_everything(server: Any, upstream: Start, connect: Connect) -> None:
    """Back-pressure holds the source; nothing is lost and the proxy does not swallow it all."""
    data = random_bytes(8_000_000)
    sent = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        for start in range(0, len(data), 65536):
            connection.sendall(data[start : start + 65536])
        sent.set()
        connection.close()

    client = connect()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.connect(server.proxy(upstream(serve)))
    time.sleep(0.4)
    assert not sent.is_set()
    assert client.read() == data


def test_disabling_drops_and_refuses(server: Any, echo: str, connect: Connect) -> None:
    """A disabled proxy cuts its connections and refuses new ones; enabled again it serves."""
    address = server.proxy(echo)
    client = connect(address)
    client.round_trip_s()
    assert server.ask("POST", "/proxies/p", {"enabled": False}).json()["enabled"] is False
    with contextlib.suppress(ConnectionResetError):
        assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(address)
    assert server.ask("POST", "/proxies/p", {"enabled": True}).json()["enabled"] is True
    connect(address).round_trip_s()


def test_deleting_a_proxy_drops_its_connections(server: Any, echo: str, connect: Connect) -> None:
    """A deleted proxy cuts its connections and frees its port."""
    address = server.proxy(echo)
    client = connect(address)
    client.round_trip_s()
    assert server.ask("DELETE", "/proxies/p").status_code == 204
    with contextlib.suppress(ConnectionResetError):
        assert client.recv(1) == b""
    socket.create_server(address).close()


def test_documented_deviation_half_close(server: Any, upstream: Start, connect: Connect) -> None:
    """A client that has said all it will still gets its answer from the built-in proxy."""

    def serve(connection: socket.socket) -> None:
        question = connection.recv(1024)
        assert connection.recv(1024) == b""
        time.sleep(0.1)
        connection.sendall(b"answer to " + question)
        connection.close()

    client = connect(server.proxy(upstream(serve)))
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    if server.kind == "builtin":
        assert client.read() == b"answer to question"
    else:
        with contextlib.suppress(ConnectionResetError):
            assert client.read() == b""
