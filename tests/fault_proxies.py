"""A fault proxy in a process of its own: Toxiproxy or the built-in proxy, started, asked and ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
import requests

from chaos.clock import SystemClock
from chaos.control.builtin_proxy import BuiltinProxy
from chaos.stack.ports import reserve_port

ROOT = Path(__file__).parents[1]
HOW_TO_GET_IT = (
    "toxiproxy-server is neither on PATH nor in .ragquake/bin. Get it with "
    "`GOBIN=$PWD/.ragquake/bin go install github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0` "
    "(then rename `server` to `toxiproxy-server`), or set RAGQUAKE_PROXY=builtin to leave it out."
)


@dataclass
class FaultProxy:
    """A running fault proxy; what it said is in `log`."""

    kind: str
    api: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def is_builtin(self) -> bool:
        return self.kind == "builtin"

    @property
    def address(self) -> tuple[str, int]:
        """Where the API listens."""
        host, _, port = self.api.removeprefix("http://").rpartition(":")
        return host, int(port)

    @property
    def client(self) -> BuiltinProxy:
        return BuiltinProxy(self.api)

    @property
    def usage(self) -> psutil.Process:
        return psutil.Process(self.process.pid)

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        """One call; `body` is JSON text or a value."""
        data = body if body is None or isinstance(body, str) else json.dumps(body)
        options.setdefault("timeout", 30)
        return requests.request(method, self.api + path, data=data, **options)

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

    def proxy(self, upstream: str, name: str = "p", **more: Any) -> tuple[str, int]:
        """A proxy in front of `upstream`; where it listens."""
        asked = {"name": name, "listen": "127.0.0.1:0", "upstream": upstream, **more}
        answer = self.ask("POST", "/proxies", asked)
        assert answer.status_code == 201, answer.text
        host, _, port = answer.json()["listen"].rpartition(":")
        return host, int(port)

    def toxic(self, type_: str, stream: str = "downstream", proxy: str = "p", **attributes: Any) -> None:
        """Add a toxic; `name`, `toxicity` and `lease` are the toxic's own."""
        own = {key: attributes.pop(key) for key in ("name", "toxicity", "lease") if key in attributes}
        body = {"type": type_, "stream": stream, "attributes": attributes, **own}
        answer = self.ask("POST", f"/proxies/{proxy}/toxics", body)
        assert answer.status_code == 200, answer.text

    def untoxic(self, name: str, proxy: str = "p") -> None:
        """Remove a toxic."""
        assert self.ask("DELETE", f"/proxies/{proxy}/toxics/{name}").status_code == 204

    def clean(self) -> None:
        """Without proxies and leases."""
        if self.is_builtin:
            for name in self.client.leases():
                self.client.end_lease(name)
        for name in self.ask("GET", "/proxies").json():
            self.ask("DELETE", f"/proxies/{quote(name, safe='')}")

    def metric(self, name: str, **labels: str) -> float:
        """The value of one sample of the built-in proxy's `/metrics`; 0 when there is none."""
        text = self.ask("GET", "/metrics").text
        wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
        line = rf"^ragquake_proxy_{name}{re.escape('{' + wanted + '}') if labels else ''} (\S+)$"
        found = re.search(line, text, re.MULTILINE)
        return float(found[1]) if found else 0.0


def find_server() -> str:
    """Where Toxiproxy's server is; without one the test is skipped where that was asked for, else fails."""
    here = ROOT / ".ragquake" / "bin" / "toxiproxy-server"
    found = shutil.which("toxiproxy-server") or (str(here) if here.exists() else None)
    if os.environ.get("RAGQUAKE_PROXY") == "builtin":
        pytest.skip("RAGQUAKE_PROXY=builtin")
    if found is None:
        pytest.fail(HOW_TO_GET_IT)
    return found


@contextlib.contextmanager
def fault_proxy(
    folder: Path, *flags: str, kind: str = "builtin", port: int = 0, descriptors: int | None = None
) -> Iterator[FaultProxy]:
    """One on a free port, with the server's own `flags`; `descriptors` is all that its process may open.

    The built-in proxy must end when it is told to, without having said anything of an error inside it.
    """

    def limit() -> None:
        if descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    port = port or reserve_port()
    command = [sys.executable, "-m", "chaos.proxy", "--host", "127.0.0.1", "--port", str(port), *flags]
    if kind != "builtin":
        command = [find_server(), "-host", "127.0.0.1", "-port", str(port), *flags]
    log = folder / f"{kind}-{port}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=file, stderr=file, preexec_fn=limit if descriptors else None
        )
    running = FaultProxy(kind, f"http://127.0.0.1:{port}", process, log)
    try:
        running.client.wait_ready(20, SystemClock())
        yield running
        killed_by_the_test = process.poll() is not None
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    finally:
        process.kill()
        process.wait(30)
    if running.is_builtin:
        said = log.read_text("utf-8", "replace")
        assert "Traceback" not in said, said[-3000:]
        assert killed_by_the_test or process.returncode in (0, -signal.SIGTERM)
