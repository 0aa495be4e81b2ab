"""Both servers behind one set of tests: what Toxiproxy 2.12 does, the built-in proxy must do too."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from chaos.clock import SystemClock
from chaos.stack.ports import reserve_port
from chaos.toxiproxy import Toxiproxy

ROOT = Path(__file__).parents[3]
HOW_TO_GET_IT = (
    "toxiproxy-server is neither on PATH nor in .ragquake/bin. Get it with "
    "`GOBIN=$PWD/.ragquake/bin go install github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0` "
    "(then rename `server` to `toxiproxy-server`), or set RAGQUAKE_PROXY=builtin to leave it out."
)


@dataclass
class Server:
    """A running fault proxy."""

    kind: str
    api: str
    process: subprocess.Popen[bytes]

    @property
    def is_builtin(self) -> bool:
        return self.kind == "builtin"

    @property
    def address(self) -> tuple[str, int]:
        """Where the API listens."""
        host, _, port = self.api.removeprefix("http://").rpartition(":")
        return host, int(port)

    def say(self, request: bytes, wait_s: float = 5.0) -> bytes:
        """Bytes sent to the API as they are, and all it answers until it closes or falls silent."""
        answer = b""
        with socket.create_connection(self.address) as connection:
            connection.settimeout(wait_s)
            with contextlib.suppress(OSError):
                connection.sendall(request)
                while data := connection.recv(65536):
                    answer += data
        return answer

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        """One call; `body` is JSON text or a value."""
        data = body if body is None or isinstance(body, str) else json.dumps(body)
        options.setdefault("timeout", 10)
        return requests.request(method, self.api + path, data=data, **options)

    def proxy(self, upstream: str, name: str = "p", **more: Any) -> tuple[str, int]:
        """A proxy in front of `upstream`; where it listens."""
        asked = {"name": name, "listen": "127.0.0.1:0", "upstream": upstream, **more}
        answer = self.ask("POST", "/proxies", asked)
        assert answer.status_code == 201, answer.text
        host, _, port = answer.json()["listen"].rpartition(":")
        return host, int(port)

    def toxic(self, type_: str, stream: str = "downstream", proxy: str = "p", **attributes: Any) -> None:
        """Add a toxic named by its default."""
        toxicity = attributes.pop("toxicity", 1.0)
        body = {"type": type_, "stream": stream, "toxicity": toxicity, "attributes": attributes}
        answer = self.ask("POST", f"/proxies/{proxy}/toxics", body)
        assert answer.status_code == 200, answer.text

    def untoxic(self, name: str, proxy: str = "p") -> None:
        """Remove a toxic."""
        assert self.ask("DELETE", f"/proxies/{proxy}/toxics/{name}").status_code == 204


@dataclass
class Upstream:
    """A TCP server in threads that treats each connection with `serve`."""

    serve: Callable[[socket.socket], None]
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    open: list[socket.socket] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(connection)
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self.serve(connection)

    def close(self) -> None:
        self.listener.close()
        for connection in self.open:
            connection.close()


def find_server() -> str | None:
    """Where Toxiproxy's server is, if anywhere."""
    here = ROOT / ".ragquake" / "bin" / "toxiproxy-server"
    return shutil.which("toxiproxy-server") or (str(here) if here.exists() else None)


@contextlib.contextmanager
def serving(kind: str, *flags: str) -> Iterator[Server]:
    """A fault proxy of that kind in a process of its own; `flags` are the server's."""
    port = str(reserve_port())
    if kind == "builtin":
        command = [sys.executable, "-m", "chaos.proxy", "--host", "127.0.0.1", "--port", port, *flags]
    else:
        found = find_server()
        if os.environ.get("RAGQUAKE_PROXY") == "builtin":
            pytest.skip("RAGQUAKE_PROXY=builtin")
        if found is None:
            pytest.fail(HOW_TO_GET_IT)
        command = [found, "-host", "127.0.0.1", "-port", port, *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        server = Server(kind, f"http://127.0.0.1:{port}", process)
        Toxiproxy(server.api).wait_ready(20, SystemClock())
        yield server
    finally:
        process.kill()
        process.wait(10)


KINDS = ("toxiproxy", "builtin")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each of both, for tests that start servers of their own."""
    return str(request.param)


@pytest.fixture
def start_server() -> Iterator[Callable[..., Server]]:
    """Starts a server that the test may break: `start_server(kind, *flags)`."""
    with contextlib.ExitStack() as stack:
        yield lambda kind, *flags: stack.enter_context(serving(kind, *flags))


@pytest.fixture(scope="session")
def serve_for_long() -> Callable[..., contextlib.AbstractContextManager[Server]]:
    """The same as a context manager, for fixtures that outlive a test."""
    return serving


@pytest.fixture(scope="session", params=KINDS)
def running(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(request.param) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    """The server without any proxy, before and after."""
    yield running
    for name in running.ask("GET", "/proxies").json():
        running.ask("DELETE", f"/proxies/{name}")


@pytest.fixture
def upstream() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Starts a TCP server with a behaviour and returns its address."""
    started: list[Upstream] = []

    def start(serve: Callable[[socket.socket], None]) -> str:
        one = Upstream(serve)
        started.append(one)
        threading.Thread(target=one.run, daemon=True).start()
        return one.address

    yield start
    for one in started:
        one.close()


@pytest.fixture
def echo(upstream: Callable[[Callable[[socket.socket], None]], str]) -> str:
    """The address of a server that sends back what it gets, until the end."""

    def serve(connection: socket.socket) -> None:
        while data := connection.recv(65536):
            connection.sendall(data)
        connection.close()

    return upstream(serve)


class Client(socket.socket):
    """A client's socket that reads and compares."""

    def read(self, size: int | None = None) -> bytes:
        """`size` bytes, or all until the stream ends."""
        got = bytearray()
        while (size is None or len(got) < size) and (data := self.recv(65536)):
            got += data
        return bytes(got)

    def round_trip_s(self, data: bytes = b"ping") -> float:
        """Seconds until an echo is back, whole and unchanged."""
        started_s = time.perf_counter()
        threading.Thread(target=self.sendall, args=(data,), daemon=True).start()
        got = self.read(len(data))
        took_s = time.perf_counter() - started_s
        assert got == data
        return took_s


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
