"""The vector DB is killed with SIGKILL under writes: what it acknowledged is there, all of it and whole.

Ten kills in the test; the long form is `RAGQUAKE_KILLS=200 pytest -s
tests/scenario/test_vector_db_durability.py`. Writers own their points and write one after the other, so that
at most one write of each is in doubt at a kill: sent, never answered. Such a write may be there or not, but
as a whole. Nothing else may differ.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faiss
import httpx
import numpy as np
import pytest

from chaos.stack.ports import reserve_port
from rag_service.corpus.document import Document, stamp_of
from rag_service.corpus.index import Manifest, write_documents, write_manifest

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("RAGQUAKE_KILLS", "10"))
SEED = int(os.environ.get("RAGQUAKE_SEED", "0")) or time.time_ns() % 1_000_000
WRITERS = 8
POINTS_OF_A_WRITER = 8
INGESTED = 16
DIMENSION = 16
LONGEST_ROUND_S = 0.4
READY_WITHIN_S = 60.0
CORPUS = "/v1/collections/corpus"

SERVE = "import sys; from rag_service.vector_db.__main__ import main; sys.exit(main())"
ACKNOWLEDGE_WITHOUT_WRITING = """
from rag_service.vector_db.log import Log
def append(self, payloads):
    self.version += len(payloads)
Log.append = append
"""

State = dict[str, int | None]
"""Each point's sequence number, as its metadata has it; None for a point that is not there."""


class WriteLost(AssertionError):
    """The database does not hold what it acknowledged, or holds what was never sent."""


@dataclass(slots=True)
class Writer:
    """One client: the points that are its own, what it knows of them, and the write that is in doubt."""

    ids: list[str]
    random: random.Random
    known: State
    doubtful: State = field(default_factory=dict)
    acknowledged: int = 0
    applied: int = 0
    sequence: int = 0

    async def write(self, client: httpx.AsyncClient) -> None:
        """Write until the connection breaks."""
        while True:
            await self.write_once(client)

    async def write_once(self, client: httpx.AsyncClient) -> None:
        chosen = self.random.sample(self.ids, self.random.randint(1, 4))
        self.sequence += 1
        if self.random.random() < 0.3:
            self.doubtful = dict.fromkeys(chosen)
            response = await client.post(f"{CORPUS}/delete", json={"ids": chosen})
        else:
            self.doubtful = dict.fromkeys(chosen, self.sequence)
            points = [
                {"id": name, "vector": _vector(name, self.sequence), "metadata": {"n": self.sequence}}
                for name in chosen
            ]
            response = await client.post(f"{CORPUS}/upsert", json={"points": points})
        assert response.status_code == 200, response.text
        self.known |= self.doubtful
        self.doubtful = {}
        self.acknowledged += 1
        self.applied += 1


@dataclass(frozen=True, slots=True)
class Running:
    """A started database."""

    process: subprocess.Popen[bytes]
    url: str

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        assert self.process.wait(10) == -signal.SIGKILL


def _vector(name: str, sequence: int) -> list[float]:
    """A direction that only this write has."""
    vector = np.random.default_rng([sequence, *name.encode()]).normal(size=DIMENSION)
    return (vector / np.linalg.norm(vector)).round(6).tolist()


@pytest.fixture
def index_dir(tmp_path: Path) -> Path:
    """A few documents, which writers replace and delete like points of their own."""
    folder = tmp_path / "index"
    folder.mkdir()
    documents = [Document(f"doc-{number}", "title", "text") for number in range(INGESTED)]
    write_documents(folder, documents)
    index = faiss.IndexFlatIP(DIMENSION)
    index.add(np.array([_vector(item.id, 0) for item in documents], dtype=np.float32))
    faiss.write_index(index, str(folder / "index.faiss"))
    stamp = stamp_of(documents, "model")
    write_manifest(folder, Manifest(stamp, "model", DIMENSION, 48, INGESTED, "test", "none"))
    return folder


def _writers() -> list[Writer]:
    writers = []
    for number in range(WRITERS):
        ids = [f"w{number}-{point}" for point in range(POINTS_OF_A_WRITER)]
        known: State = dict.fromkeys(ids)
        documents = [f"doc-{item}" for item in range(number, INGESTED, WRITERS)]
        known |= dict.fromkeys(documents, 0)
        writers.append(Writer(ids + documents, random.Random(SEED + number), known))
    return writers


@contextmanager
def _started(index_dir: Path, before: str = "") -> Iterator[Running]:
    port = reserve_port()
    command = [sys.executable, "-c", before + SERVE, "--port", str(port), "--index", str(index_dir)]
    with (index_dir.parent / "vector_db.log").open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    running = Running(process, f"http://127.0.0.1:{port}")
    try:
        end_s = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < end_s:
            assert process.poll() is None, (index_dir.parent / "vector_db.log").read_text()
            with suppress(httpx.TransportError):
                httpx.get(f"{running.url}/healthz", timeout=1.0)
                break
            time.sleep(0.02)
        yield running
    finally:
        process.kill()
        process.wait(10)


async def _write_until_killed(running: Running, writers: list[Writer], chance: random.Random) -> None:
    """All write, somebody asks for a snapshot, and at some moment the process is gone."""
    async with httpx.AsyncClient(base_url=running.url, timeout=10.0) as client:
        tasks = [asyncio.create_task(writer.write(client)) for writer in writers]
        ends_s = chance.uniform(0.0, LONGEST_ROUND_S)
        if chance.random() < 0.5:
            await asyncio.sleep(chance.uniform(0.0, ends_s))
            tasks.append(asyncio.create_task(client.post(f"{CORPUS}/snapshot")))  # type: ignore[arg-type]
            ends_s = chance.uniform(0.0, 0.02)
        await asyncio.sleep(ends_s)
        running.kill()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, BaseException) and not isinstance(ended, httpx.TransportError):
                raise ended


def _check(running: Running, writers: list[Writer]) -> None:
    """Compare all that is there with all that was sent; afterwards no write is in doubt any more."""
    with httpx.Client(base_url=running.url, timeout=10.0) as client:
        health = client.get("/healthz").json()
        cannot_tell = sum(_check_writer(client, writer) for writer in writers)
        applied = sum(writer.applied for writer in writers)
        if not applied <= health["version"] <= applied + cannot_tell:
            raise WriteLost(f"version {health['version']} after {applied} writes")
        writers[0].applied += health["version"] - applied
        alive = {name: n for writer in writers for name, n in writer.known.items() if n is not None}
        found = client.post(f"{CORPUS}/search", json={"vectors": [_vector("any", 1)], "k": 100}).json()
        if {hit["id"] for hit in found["results"][0]} != set(alive) or health["documents"] != len(alive):
            raise WriteLost("a search finds other points than those that were written")


def _check_writer(client: httpx.Client, writer: Writer) -> bool:
    """Raises WriteLost; whether a write in doubt may or may not have been made."""
    there: State = {}
    for name in writer.known:
        response = client.get(f"{CORPUS}/points/{name}")
        there[name] = None
        if response.status_code == 200:
            point: dict[str, Any] = response.json()
            there[name] = point["metadata"].get("n", 0)
            expected = _vector(name, there[name] or 0)
            if not np.allclose(point["vector"], expected, atol=1e-5):
                raise WriteLost(f"{name} has the metadata of write {there[name]} and another vector")
    if there == writer.known:
        cannot_tell = bool(writer.doubtful) and there == writer.known | writer.doubtful
        writer.doubtful = {}
        return cannot_tell  # such as a delete of what was not there: only the version can tell
    if not writer.doubtful or there != writer.known | writer.doubtful:
        differs = {name: (writer.known[name], n) for name, n in there.items() if n != writer.known[name]}
        raise WriteLost(f"acknowledged and found differ: {differs}; in doubt was {writer.doubtful}")
    writer.known, writer.doubtful = there, {}
    writer.applied += 1
    return False


def test_no_acknowledged_write_is_lost_when_the_process_is_killed(index_dir: Path) -> None:
    """After every kill, the restarted database holds each acknowledged write and none that was never sent."""
    chance = random.Random(SEED)
    writers = _writers()
    for kill in range(KILLS):
        with _started(index_dir) as running:
            _check(running, writers)
            asyncio.run(_write_until_killed(running, writers, chance))
        if kill % 20 == 19:
            print(f"{kill + 1} kills, {sum(writer.acknowledged for writer in writers)} writes", flush=True)
    with _started(index_dir) as running:
        _check(running, writers)
    acknowledged = sum(writer.acknowledged for writer in writers)
    print(f"{KILLS} SIGKILLs, {acknowledged} writes acknowledged, 0 lost (seed {SEED})")
    assert acknowledged > KILLS, "the control: something was written"


def test_durability_check_notices_writes_that_were_only_acknowledged(index_dir: Path) -> None:
    """Negative control: a database that answers before it writes fails the same check."""
    writers = _writers()
    with _started(index_dir, before=ACKNOWLEDGE_WITHOUT_WRITING) as running:
        asyncio.run(_write_a_few(running, writers))
        _check(running, writers)
        running.kill()
    with _started(index_dir) as running, pytest.raises(WriteLost):
        _check(running, writers)


def test_durability_check_notices_a_torn_acknowledged_record(index_dir: Path) -> None:
    """Negative control: one byte less of the last acknowledged write fails the same check."""
    writers = _writers()
    with _started(index_dir) as running:
        asyncio.run(_write_a_few(running, writers))
        running.kill()
    (log,) = index_dir.with_name("index.state").glob("*/log-*")
    log.write_bytes(log.read_bytes()[:-1])
    with _started(index_dir) as running, pytest.raises(WriteLost):
        _check(running, writers)


def test_damage_in_the_middle_is_refused_after_a_kill(index_dir: Path) -> None:
    """A changed byte is neither replayed nor cut: exit code 2, with the file, the place and what to do."""
    writers = _writers()
    with _started(index_dir) as running:
        asyncio.run(_write_a_few(running, writers))
        running.kill()
    (log,) = index_dir.with_name("index.state").glob("*/log-*")
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    command = [sys.executable, "-c", SERVE, "--port", "0", "--index", str(index_dir)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=READY_WITHIN_S, check=False)
    assert ended.returncode == 2
    assert str(log) in ended.stderr and "damaged at byte" in ended.stderr and "truncate -s" in ended.stderr
    assert "Traceback" not in ended.stderr


async def _write_a_few(running: Running, writers: list[Writer]) -> None:
    async with httpx.AsyncClient(base_url=running.url, timeout=10.0) as client:
        for _ in range(3):
            await asyncio.gather(*(writer.write_once(client) for writer in writers))
