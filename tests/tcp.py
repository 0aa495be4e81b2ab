"""A TCP server in threads that treats each of its connections with a function of the test's."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

Serve = Callable[[socket.socket], None]
Start = Callable[[Serve], str]


@contextlib.contextmanager
def tcp_servers() -> Iterator[Start]:
    """`start(serve)` begins a server and returns its `HOST:PORT`; all of them end with the block."""
    opened: list[socket.socket] = []

    def start(serve: Serve) -> str:
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        opened.append(listener)

        def one(connection: socket.socket) -> None:
            with contextlib.suppress(OSError):
                serve(connection)

        def run() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    opened.append(connection)
                    threading.Thread(target=one, args=(connection,), daemon=True).start()

        threading.Thread(target=run, daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for each in opened:
        each.close()


def echo(connection: socket.socket) -> None:
    """Send back what comes, until the end."""
    while data := connection.recv(65536):
        connection.sendall(data)
    connection.close()


def read(connection: socket.socket, size: int | None = None) -> bytes:
    """`size` bytes, or all until the stream ends."""
    got = bytearray()
    while (size is None or len(got) < size) and (data := connection.recv(65536)):
        got += data
    return bytes(got)
