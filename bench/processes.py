"""The processes that a benchmark needs: started on free loopback ports, ended for certain."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOOPBACK = "127.0.0.1"
MODEL = "simulator"
_START_LIMIT_S = 120.0
_END_LIMIT_S = 5.0


class DidNotStart(Exception):
    """A process ended, or said nothing for two minutes; the message holds its last words."""


@dataclass(frozen=True, slots=True)
class Running:
    """One started process and where it listens."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def get(self, path: str) -> Any:
        """The JSON that the process answers with."""
        with urllib.request.urlopen(self.url + path, timeout=10.0) as response:
            return json.load(response)

    def wait_until_ready(self, path: str) -> None:
        """Raises DidNotStart."""
        ends_at = time.monotonic() + _START_LIMIT_S
        while time.monotonic() < ends_at and self.process.poll() is None:
            with (
                contextlib.suppress(OSError, urllib.error.URLError),
                urllib.request.urlopen(self.url + path, timeout=2.0) as response,
            ):
                if response.status == 200:
                    return
            time.sleep(0.2)
        last_words = self.log.read_text("utf-8", "replace")[-2000:]
        raise DidNotStart(f"{self.name} did not become ready at {self.url}{path}:\n{last_words}")

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_END_LIMIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


class Processes:
    """Starts processes, and ends all of them when the block ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[Running] = []

    def start(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        port: int,
        environment: Mapping[str, str] | None = None,
        checkout: Path = ROOT,
    ) -> Running:
        """`python ARGUMENTS` in a checkout; `bench` is always this one, so that peers are measured alike."""
        paths = {"PYTHONPATH": f"{checkout}{os.pathsep}{ROOT}"}
        command = [sys.executable, *arguments]
        return self.program(
            name, command, port=port, environment=paths | dict(environment or {}), at=checkout
        )

    def program(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        port: int,
        environment: Mapping[str, str] | None = None,
        at: Path = ROOT,
    ) -> Running:
        """Any command, in a folder."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("RAG_", "OTEL_"))}
        log = self.folder / f"{name.replace(' ', '-')}-{port}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, env=inherited | dict(environment or {}), cwd=at, stdout=out, stderr=subprocess.STDOUT
            )
        running = Running(name, process, port, log)
        self._running.append(running)
        return running

    def vector_db(self, index: Path) -> Running:
        port = free_port()
        arguments = ["-m", "rag_service.vector_db", "--port", str(port), "--index", str(index)]
        return self.start("vector-db", arguments, port=port)

    def model_server(self, **options: str) -> Running:
        """The simulator; options are its flags: `max_running="8"`."""
        port = free_port()
        flags = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", value)]
        arguments = ["-m", "rag_service.model_server", "--port", str(port), "--model", MODEL, *flags]
        return self.start("model-server", arguments, port=port)

    def scripted_model(self, *, first_token_s: float, token_s: float) -> Running:
        port = free_port()
        arguments = ["-m", "bench.scripted_model", str(port), str(first_token_s), str(token_s)]
        return self.start("scripted-model", arguments, port=port)

    def service(
        self,
        name: str,
        *,
        index: Path,
        vector_db: Running,
        llm: Running,
        otlp: str | None,
        checkout: Path = ROOT,
        settings: Mapping[str, str] | None = None,
    ) -> Running:
        """The service under observation (`bench.observed`); settings are RAG_ names without the prefix."""
        port = free_port()
        environment = {
            "RAG_PORT": str(port),
            "RAG_INDEX_DIR": str(index),
            "RAG_VECTOR_DB_URL": vector_db.url,
            "RAG_VECTOR_DB_ADDRESS": f"{LOOPBACK}:{vector_db.port}",
            "RAG_LLM_URL": f"{llm.url}/v1",
            "RAG_LLM_ADDRESS": f"{LOOPBACK}:{llm.port}",
            "RAG_LLM_MODEL": MODEL,
        }
        environment |= {f"RAG_{key}": value for key, value in (settings or {}).items()}
        if otlp:
            environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = otlp
        return self.start(
            name, ["-m", "bench.observed"], port=port, environment=environment, checkout=checkout
        )

    def tutorial(self, *, index: Path, llm: Running) -> Running:
        port = free_port()
        arguments = ["-m", "bench.tutorial_service", str(port), str(index), f"{llm.url}/v1"]
        return self.start("tutorial service", arguments, port=port)

    def end(self) -> None:
        for running in reversed(self._running):
            running.end()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def processes() -> Iterator[Processes]:
    """They end with the block, also on SIGTERM, which would leave them behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="ragquake-bench-") as folder:
        started = Processes(Path(folder))
        try:
            yield started
        finally:
            started.end()


class _Swallow(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silence."""


@contextmanager
def otlp_sink() -> Iterator[str]:
    """An OTLP receiver that takes everything and keeps nothing; its address."""
    server = ThreadingHTTPServer((LOOPBACK, 0), _Swallow)
    thread = threading.Thread(target=server.serve_forever, name="otlp-sink", daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
