"""The vector DB as a process: what other parts of the stack count on."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import faiss
import httpx
import numpy as np
import psutil
import pytest

from rag_service.corpus import CorpusSource
from rag_service.ingest import DIMENSION, ingest

pytestmark = pytest.mark.slow

SEARCH = "/v1/collections/corpus/search"
READY_WITHIN_S = 60.0  # a busy machine is not a broken one


@dataclass(frozen=True, slots=True)
class Running:
    """A started vector DB."""

    process: subprocess.Popen[str]
    client: httpx.Client


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(index: Path, port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rag_service.vector_db", "--port", str(port), "--index", str(index)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def index_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three documents, each with a direction of its own."""
    folder = tmp_path_factory.mktemp("index")
    corpus = folder / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"id": name, "text": name * 10}) + "\n" for name in "abc"))
    eye = np.eye(DIMENSION, dtype=np.float32)
    ingest(
        CorpusSource(corpus),
        folder / "index",
        lambda _: None,
        lambda: lambda texts: np.stack([eye["abc".index(text[0])] for text in texts]),
    )
    return folder / "index"


@pytest.fixture(scope="module")
def running(index_dir: Path) -> Iterator[Running]:
    port = _free_port()
    process = _start(index_dir, port)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10.0) as client:
        try:
            _wait_until_ready(process, client)
            yield Running(process, client)
        finally:
            process.kill()
            process.wait(10)


def _wait_until_ready(process: subprocess.Popen[str], client: httpx.Client) -> None:
    end_s = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < end_s:
        assert process.poll() is None, process.communicate()[1]
        try:
            assert client.get("/healthz").status_code == 200
            return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the vector DB was not ready in time")


def test_it_finds_the_nearest_document_over_http(running: Running) -> None:
    """The door of notes 0001 and 0002, §2: stamp, version and results with id and score."""
    vector = [0.0, 1.0] + [0.0] * (DIMENSION - 2)
    answer = running.client.post(SEARCH, json={"vectors": [vector], "k": 2}).json()
    assert answer.keys() == {"stamp", "version", "results"}
    assert answer["stamp"] == running.client.get("/healthz").json()["stamp"]
    assert answer["results"][0][0] == {"id": "b", "score": 1.0}


def test_limits_hold_over_the_wire(running: Running) -> None:
    """A body that is too large and a k that is too large come back as JSON errors."""
    large = running.client.post(SEARCH, content=b"[" * 3_000_000)
    assert (large.status_code, large.json()["error"]["code"]) == (413, "body_too_large")
    assert running.client.post(SEARCH, json={"vectors": [[0.0] * DIMENSION], "k": 101}).status_code == 422


def test_it_never_loads_torch(running: Running) -> None:
    """The database must start in a moment and stay small beside the service."""
    mapped = [item.path for item in psutil.Process(running.process.pid).memory_maps()]
    assert any("faiss" in path for path in mapped), "the control: its libraries can be seen"
    assert not any("torch" in path for path in mapped)


def test_a_busy_port_is_said_in_one_sentence(running: Running, index_dir: Path) -> None:
    """Exit code 4 names the port; no traceback."""
    second = _start(index_dir, running.client.base_url.port or 0)
    _, said = second.communicate(timeout=READY_WITHIN_S)
    assert second.returncode == 4
    assert f":{running.client.base_url.port}" in said
    assert "Traceback" not in said


def test_a_mismatched_index_is_refused_at_the_start(index_dir: Path, tmp_path: Path) -> None:
    """Exit code 2 with the next step, instead of good latency and worthless answers."""
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("documents.parquet", "manifest.json"):
        (broken / name).write_bytes((index_dir / name).read_bytes())
    faiss.write_index(faiss.IndexFlatIP(DIMENSION), str(broken / "index.faiss"))
    process = _start(broken, _free_port())
    _, said = process.communicate(timeout=READY_WITHIN_S)
    assert process.returncode == 2
    assert "0 vectors for 3 documents" in said
    assert "python -m rag_service.ingest" in said


def test_sigterm_ends_it_while_a_client_is_connected(index_dir: Path) -> None:
    """The process and its port are gone, though a connection was open."""
    port = _free_port()
    process = _start(index_dir, port)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10.0) as client:
            _wait_until_ready(process, client)
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(10) in (0, -signal.SIGTERM)
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    finally:
        process.kill()
        process.communicate()
