"""A relay that never hangs up on the server: the negative control of everything that is freed by a hang-up.

It passes bytes on like a proxy. When its caller leaves it goes on reading the answer, to its end, for nobody.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

CHUNK = 65536


@contextlib.contextmanager
def deaf_relay(host: str, port: int) -> Iterator[str]:
    """HOST:PORT of a relay to a server; it stops taking callers at the end."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(256)
        threading.Thread(target=_serve, args=(server, (host, port)), daemon=True).start()
        try:
            yield "{}:{}".format(*server.getsockname())
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)


def _serve(server: socket.socket, to: tuple[str, int]) -> None:
    while True:
        try:
            caller = server.accept()[0]
            upstream = socket.create_connection(to)
        except OSError:
            return
        threading.Thread(target=_ask, args=(caller, upstream), daemon=True).start()
        threading.Thread(target=_answer, args=(upstream, caller), daemon=True).start()


def _ask(caller: socket.socket, upstream: socket.socket) -> None:
    """Passes on what the caller says, but not that he has left."""
    with contextlib.suppress(OSError):
        while said := caller.recv(CHUNK):
            upstream.sendall(said)


def _answer(upstream: socket.socket, caller: socket.socket) -> None:
    """Reads until the server hangs up, whether or not somebody listens."""
    listening = True
    with caller, upstream, contextlib.suppress(OSError):
        while said := upstream.recv(CHUNK):
            if listening:
                try:
                    caller.sendall(said)
                except OSError:
                    listening = False
