"""The real service as a process of its own, without what does not matter here: a real model to embed with.

`sentence_transformers` and `torch` are stood in for by modules of a few lines, so that a process is ready in
some 3 s instead of 20; everything else (uvicorn, signals, sockets, HTTP to the model server) is real.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from rag_service.corpus.document import Document, stamp_of
from rag_service.corpus.index import Manifest, write_documents, write_manifest

_STANDS_IN = {
    "sentence_transformers.py": """
import numpy as np
class SentenceTransformer:
    def __init__(self, *_, **__): pass
    def encode(self, texts, **_): return np.full((len(texts), 384), 384 ** -0.5, dtype=np.float32)
""",
    "torch.py": "def set_num_threads(_): pass\n",
    "transformers/__init__.py": "",
    "transformers/utils/__init__.py": "from . import logging\n",
    "transformers/utils/logging.py": "def disable_progress_bar(): pass\n",
}
_READY_S = 60.0


class Server:
    """One process that serves HTTP on loopback."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )
        self.url = self._wait_for_address()
        self.port = int(self.url.rpartition(":")[2])

    def _wait_for_address(self) -> str:
        ends = time.monotonic() + _READY_S
        while time.monotonic() < ends:
            for word in self.log.read_text().split():
                if word.startswith("http://"):
                    return word.rstrip(",")
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        raise AssertionError(f"{self.name} did not say where it listens: {self.log.read_text()}")

    def wait_ready(self, path: str) -> None:
        ends = time.monotonic() + _READY_S
        while time.monotonic() < ends:
            try:
                if httpx.get(self.url + path, trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"{self.name} is not ready: {self.log.read_text()}")

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def exit_code(self, within_s: float) -> int:
        return self.process.wait(timeout=within_s)

    def open_files(self) -> int:
        return psutil.Process(self.process.pid).num_fds()

    def memory_bytes(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=10.0)


Start = Callable[..., Server]


@pytest.fixture(scope="session")
def small_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three documents; the first is long enough for an answer of many tokens."""
    folder = tmp_path_factory.mktemp("small-index")
    long_text = " ".join(f"Rename step {n} renames the file called src{n} to dst{n}." for n in range(30))
    documents = (
        Document("a", "os.rename", long_text),
        Document("b", "Path.rename", "Rename this file to the given target."),
        Document("c", "socket.close", "Mark the socket closed."),
    )
    model = "all-MiniLM-L6-v2"
    write_documents(folder, documents)
    stamp = stamp_of(documents, model)
    write_manifest(folder, Manifest(stamp, model, 384, 256, len(documents), "test", "test"))
    return folder


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that goes on PYTHONPATH in front of the real model that the service would embed with."""
    folder = tmp_path_factory.mktemp("stand-ins")
    for name, text in _STANDS_IN.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Server]]:
    """Whatever is started is ended."""
    started: list[Server] = []
    try:
        yield started
    finally:
        for server in started:
            server.stop()


@pytest.fixture(scope="module")
def start_model_server(servers: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Start:
    """The simulator; options as on its command line."""

    def start(**options: str) -> Server:
        command = [sys.executable, "-m", "rag_service.model_server", "--port", "0", "--model", "tiny"]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}", value]
        log = tmp_path_factory.mktemp("model-server") / "log"
        server = Server("model server", command, dict(os.environ), log)
        servers.append(server)
        server.wait_ready("/health")
        return server

    return start


@pytest.fixture(scope="module")
def start_service(
    servers: list[Server], small_index: Path, stand_ins: Path, tmp_path_factory: pytest.TempPathFactory
) -> Start:
    """The service; keyword arguments are settings. Its vector DB is down: answers come from words alone."""

    def start(llm_port: int, **settings: str) -> Server:
        folder = tmp_path_factory.mktemp("service")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAG_")}
        environment |= {
            "PYTHONPATH": str(stand_ins),
            "RAG_PORT": "0",
            "RAG_INDEX_DIR": str(small_index),
            "RAG_VECTOR_DB_URL": "http://127.0.0.1:9",
            "RAG_LLM_URL": f"http://127.0.0.1:{llm_port}/v1",
            "RAG_LLM_MODEL": "tiny",
        }
        environment |= {f"RAG_{name.upper()}": value for name, value in settings.items()}
        environment.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
        command = [sys.executable, "-m", "rag_service"]
        server = Server("service", command, environment, folder / "log")
        servers.append(server)
        server.wait_ready("/readyz")
        return server

    return start
