"""The built-in proxy as a process, with what Toxiproxy does not have; and a server and clients around it."""

from __future__ import annotations

import contextlib
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
import requests

from chaos.builtin_proxy import BuiltinProxy
from chaos.clock import SystemClock

ROOT = Path(__file__).parents[3]


@dataclass
class Builtin:
    """A running built-in proxy."""

    api: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def client(self) -> BuiltinProxy:
        return BuiltinProxy(self.api)

    @property
    def usage(self) -> psutil.Process:
        return psutil.Process(self.process.pid)

    def ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        return requests.request(method, self.api + path, json=body, timeout=10)

    def proxy(self, upstream: str, name: str = "p", **more: Any) -> tuple[str, int]:
        """A proxy in front of `upstream`; where it listens."""
        asked = {"name": name, "listen": "127.0.0.1:0", "upstream": upstream, **more}
        answer = self.ask("POST", "/proxies", asked)
        assert answer.status_code == 201, answer.text
        host, _, port = answer.json()["listen"].rpartition(":")
        return host, int(port)

    def toxic(self, type_: str, proxy: str = "p", lease: str = "", **attributes: Any) -> None:
        body = {"type": type_, "name": type_, "attributes": attributes, "lease": lease}
        answer = self.ask("POST", f"/proxies/{proxy}/toxics", body)
        assert answer.status_code == 200, answer.text

    def metric(self, name: str, **labels: str) -> float:
        """The value of one sample of `/metrics`; 0 when there is none."""
        text = self.ask("GET", "/metrics").text
        wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
        line = rf"^ragquake_proxy_{name}{re.escape('{' + wanted + '}') if labels else ''} (\S+)$"
        found = re.search(line, text, re.MULTILINE)
        return float(found[1]) if found else 0.0


@contextlib.contextmanager
def serving(folder: Path, *flags: str, descriptors: int | None = None) -> Iterator[Builtin]:
    """A built-in proxy on a free port; `descriptors` is all that its process may open."""

    def limit() -> None:
        if descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    log = folder / "proxy.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "chaos.proxy", "--port", str(port), *flags],
            cwd=ROOT,
            stdout=file,
            stderr=file,
            preexec_fn=limit,
        )
    try:
        running = Builtin(f"http://127.0.0.1:{port}", process, log)
        running.client.wait_ready(20, SystemClock())
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
    assert b"Traceback" not in log.read_bytes()
    assert process.returncode in (0, -signal.SIGTERM)


@pytest.fixture(scope="session", autouse=True)
def descriptors() -> None:
    """Room for a thousand clients and their servers in this process, too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builtin]:
    with serving(tmp_path_factory.mktemp("builtin")) as running:
        yield running


@pytest.fixture
def builtin(running: Builtin) -> Iterator[Builtin]:
    """The proxy without anything in it, before and after."""
    yield running
    for name in running.client.leases():
        running.client.end_lease(name)
    for name in running.client.proxies():
        running.ask("DELETE", f"/proxies/{quote(name, safe='')}")


@pytest.fixture
def upstream() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Starts a TCP server that treats each connection with a function, and returns its address."""
    opened: list[socket.socket] = []

    def start(serve: Callable[[socket.socket], None]) -> str:
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


@pytest.fixture
def echo(upstream: Callable[[Callable[[socket.socket], None]], str]) -> str:
    """The address of a server that sends back what it gets, until the end."""

    def serve(connection: socket.socket) -> None:
        while data := connection.recv(65536):
            connection.sendall(data)
        connection.close()

    return upstream(serve)


@pytest.fixture
def connect() -> Iterator[Callable[[tuple[str, int]], socket.socket]]:
    """Opens connections that are closed after the test."""
    opened: list[socket.socket] = []

    def open_(address: tuple[str, int]) -> socket.socket:
        client = socket.create_connection(address, timeout=10)
        opened.append(client)
        return client

    yield open_
    for client in opened:
        client.close()


def read(client: socket.socket, size: int | None = None) -> bytes:
    """`size` bytes, or all until the stream ends."""
    got = bytearray()
    while (size is None or len(got) < size) and (data := client.recv(65536)):
        got += data
    return bytes(got)


def until(condition: Callable[[], bool], what: str, limit_s: float = 5.0) -> None:
    """Wait for what must come; fail with `what` when it does not."""
    clock = SystemClock()
    end_s = clock.monotonic_s() + limit_s
    while not condition():
        assert clock.monotonic_s() < end_s, what
        clock.sleep(0.02)


@pytest.fixture(scope="session")
def tools() -> Any:
    """`read`, `until` and `serving`: conftest files cannot be imported by name."""

    class Tools:
        pass

    Tools.read, Tools.until, Tools.serving = map(staticmethod, (read, until, serving))  # type: ignore[attr-defined]
    return Tools
