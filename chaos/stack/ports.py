"""Free ports that stay free until their process binds them, and named ports with a clear refusal.

Asking the kernel for port 0 and closing the socket leaves a gap in which anybody's next port 0 may be
the same number. A port with a connection in TIME_WAIT closes that gap: the kernel hands it to nobody for
60 s, yet a server that sets SO_REUSEADDR (uvicorn, asyncio and Go all do) may bind it at once. So a
reservation is one loopback connection, closed from the server's side first.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Mapping
from typing import Final

import psutil

from chaos.stack.errors import PortBusy, StackError
from slo.documents import DocumentError

LOOPBACK: Final = "127.0.0.1"


def reserve_port() -> int:
    """A port of the loopback interface that the kernel will give to nobody else for about a minute."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((LOOPBACK, 0))
        server.listen(1)
        port: int = server.getsockname()[1]
        with socket.create_connection((LOOPBACK, port)) as client:
            accepted = server.accept()[0]
            accepted.close()
            client.recv(1)
    return port


def parse_ports(written: Iterable[str]) -> dict[str, int]:
    """`service=8080` as a person types it. Raises DocumentError with what is allowed."""
    ports = {}
    for one in written:
        part, equals, number = one.partition("=")
        if not equals or not number.isdecimal():
            raise DocumentError([f"--port {one}: write PART=NUMBER, such as service=8080"])
        ports[part] = int(number)
    return ports


def choose_ports(names: tuple[str, ...], named: Mapping[str, int]) -> dict[str, int]:
    """A port for each part: the named one when it is free, else a reserved one.

    Raises StackError for a part that does not exist or a number that is no port, PortBusy for a taken one.
    """
    for name, port in named.items():
        if name not in names:
            raise StackError(f"no part is called {name!r}; ports can be named for {', '.join(names)}")
        if not 1 <= port <= 65535:
            raise StackError(f"{port} is not a port (part {name}); allowed are 1 to 65535")
        twin = next((other for other in named if other != name and named[other] == port), None)
        if twin:
            raise StackError(f"port {port} is named for both {name} and {twin}; give each part its own")
        require_free(name, port)
    chosen = dict(named)
    for name in names:
        if name not in chosen:
            chosen[name] = next(port for port in iter(reserve_port, None) if port not in chosen.values())
    return chosen


def require_free(part: str, port: int) -> None:
    """Raise PortBusy, naming who listens, when a server could not bind the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EACCES:
                raise StackError(
                    f"port {port} (part {part}) needs more rights than this user has; name one above 1023"
                ) from error
            raise PortBusy(part, port, describe_listener(port)) from error


def describe_listener(port: int) -> str:
    """Who listens on a port, in words; processes of other users may hide."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return "a process that this user may not see"
    for connection in connections:
        if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
            if connection.pid is None:
                break
            try:
                process = psutil.Process(connection.pid)
                command = " ".join(process.cmdline()) or process.name()
            except psutil.Error:
                return f"pid {connection.pid}"
            return f"pid {connection.pid} ({command[:120]})"
    return "a process that this user may not see"
