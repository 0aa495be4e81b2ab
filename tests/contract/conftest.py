"""What stands before and behind a proxy in these tests: TCP servers and clients of the test's making."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.tcp import Start, read, tcp_servers
from tests.tcp import echo as echoing


class Client(socket.socket):
    """A client's socket that reads and compares."""

    def read(self, size: int | None = None) -> bytes:
        """`size` bytes, or all until the stream ends."""
        return read(self, size)

    def round_trip_s(self, data: bytes = b"ping") -> float:
        """Seconds until an echo is back, whole and unchanged."""
        started_s = time.perf_counter()
        threading.Thread(target=self.sendall, args=(data,), daemon=True).start()
        got = self.read(len(data))
        took_s = time.perf_counter() - started_s
        assert got == data
        return took_s


@pytest.fixture
def upstream() -> Iterator[Start]:
    """Starts a TCP server with a behaviour and returns its address."""
    with tcp_servers() as start:
        yield start


@pytest.fixture
def echo(upstream: Start) -> str:
    """The address of a server that sends back what it gets, until the end."""
    return upstream(echoing)


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """Opens client connections (sockets not yet connected, without an address), closed after the test."""
    opened: list[Client] = []

    def open_(address: tuple[str, int] | None = None) -> Client:
        client = Client()
        opened.append(client)
        client.settimeout(10)
        if address is not None:
            client.connect(address)
        return client

    yield open_
    for client in opened:
        client.close()
