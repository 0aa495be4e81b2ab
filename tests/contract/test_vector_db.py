"""The vector DB as a process: what other parts of the stack count on."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import faiss
import httpx
import numpy as np
import psutil
import pytest

from chaos.stack.ports import reserve_port
from rag_service.corpus import CorpusSource
from rag_service.ingest import DIMENSION, ingest
from rag_service.vector_db import limits
from rag_service.vector_db.__main__ import _parser

pytestmark = pytest.mark.slow

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "vector-db.md"
SEARCH = "/v1/collections/corpus/search"
READY_WITHIN_S = 60.0  # a busy machine is not a broken one


@dataclass(frozen=True, slots=True)
class Running:
    """A started vector DB."""

    process: subprocess.Popen[str]
    client: httpx.Client


def _start(index: Path, port: int, *flags: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "rag_service.vector_db",
        "--port",
        str(port),
        "--index",
        str(index),
        *flags,
    ]
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
    port = reserve_port()
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
    process = _start(broken, reserve_port())
    _, said = process.communicate(timeout=READY_WITHIN_S)
    assert process.returncode == 2
    assert "0 vectors for 3 documents" in said
    assert "python -m rag_service.ingest" in said


def test_sigterm_ends_it_while_a_client_is_connected(index_dir: Path) -> None:
    """The process and its port are gone, though a connection was open."""
    port = reserve_port()
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


def test_two_processes_serve_one_index_and_one_of_them_writes(index_dir: Path, tmp_path: Path) -> None:
    """A second stack on one index answers searches; its writes are refused, the first one's are kept."""
    index = tmp_path / "index"
    shutil.copytree(index_dir, index)
    delete = "/v1/collections/corpus/delete"
    with _serving(index) as first:
        assert first.post(delete, json={"ids": ["a"]}).json() == {"version": 1, "deleted": 1}
        with _serving(index) as second:
            assert second.get("/healthz").json()["documents"] == 2
            refused = second.post(delete, json={"ids": ["b"]})
            assert (refused.status_code, refused.json()["error"]["code"]) == (409, "read_only")
            assert "another process" in refused.json()["error"]["message"]
    with _serving(index, "--index-kind", "hnsw") as third:
        health = third.get("/healthz").json()
        assert (health["version"], health["documents"], health["index"]["kind"]) == (1, 2, "hnsw")


def test_searching_leaves_no_trace(index_dir: Path, tmp_path: Path) -> None:
    """Without a write there is no state folder: a disk that cannot be written will do."""
    index = tmp_path / "index"
    shutil.copytree(index_dir, index)
    with _serving(index) as client:
        assert client.post(SEARCH, json={"vectors": [[1.0] + [0.0] * (DIMENSION - 1)]}).status_code == 200
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--nprobe", "0", "from 1 to 65536"),
        ("--index-kind", "lsh", "flat"),
        ("--search-threads", "x", "1 to 64"),
    ],
)
def test_a_wrong_flag_ends_in_exit_code_2(index_dir: Path, flag: str, value: str, said: str) -> None:
    """The message names the flag, the value and what is allowed."""
    command = [sys.executable, "-m", "rag_service.vector_db", "--index", str(index_dir), flag, value]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=READY_WITHIN_S, check=False)
    assert ended.returncode == 2
    assert flag in ended.stderr and value in ended.stderr and said in ended.stderr


@contextmanager
def _serving(index: Path, *flags: str) -> Iterator[httpx.Client]:
    """A client of a database of its own, which is killed in the end."""
    port = reserve_port()
    process = _start(index, port, *flags)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10.0) as client:
            _wait_until_ready(process, client)
            yield client
    finally:
        process.kill()
        process.communicate()


def test_the_reference_has_every_flag_limit_and_error() -> None:
    """docs/reference/vector-db.md names what the code has, with its values, and nothing else."""
    page = REFERENCE.read_text()
    flags = {flag for action in _parser()._actions for flag in action.option_strings} - {"-h", "--help"}
    assert set(re.findall(r"^\| `(--[\w-]+)` \|", page, flags=re.MULTILINE)) == flags
    values = [value for name, value in vars(limits).items() if name.startswith("MAX_")]
    shown = {value if value < 2**20 else f"{value // 2**20} MiB" for value in values}
    shown |= {f"{limits.LOG_BYTES_PER_SNAPSHOT // 2**20} MiB"}
    assert [value for value in shown if not re.search(rf"\b{value}\b", page)] == []
    code = "".join(path.read_text() for path in Path(limits.__file__).parent.glob("*.py"))
    raised = set(re.findall(r"(?:Refused|_error)\(\s*\d{3},\s*\"(\w+)\"", code))
    raised |= {"not_found", "method_not_allowed"}
    errors = page.partition("## Errors")[2].partition("## Files")[0]
    assert set(re.findall(r"`([a-z]+_[a-z_]+|overloaded)`", errors)) == raised
