"""`make bench-vector-db`: a million vectors behind the real HTTP server, at a steady rate, with recall.

The peer is FAISS's exact scan in this process: its answers are the truth that recall is measured by, its time
is what the index saves. Searches come open loop (Poisson arrivals that were drawn before) and count from
their intended start, so waiting behind a slow one is not hidden. The vectors are synthetic
(bench.vector_corpus says how and why).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import faiss
import numpy as np
import psutil
import uvloop

from bench.processes import Processes, Running, free_port, processes
from bench.vector_client import search_body, search_open_loop, write_closed_loop
from bench.vector_corpus import DIMENSION, SyntheticCorpus, Vectors
from rag_service.corpus.document import Document, stamp_of
from rag_service.corpus.index import VECTORS_FILE, Manifest, write_documents, write_manifest

K = 10
QUERIES = 500
WRITE_S = 5.0
TARGET_P95_S = 0.015
TARGET_RECALL = 0.95
_START_LIMIT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Truth:
    """Queries, the rows that an exact scan finds for them, and how long that takes for one alone."""

    queries: Vectors
    rows: np.ndarray
    scan_s: float


@dataclass(frozen=True, slots=True)
class Searched:
    """An open-loop run: seconds from each intended start, how late it was sent, recall, the server's CPU."""

    latencies_s: np.ndarray
    lags_s: np.ndarray
    recall_ratio: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Written:
    """Writes from so many callers at a time: acknowledged a second, CPU time of the server for each."""

    callers: int
    rate: float
    cpu_s: float


def ingested(folder: Path, count: int) -> Truth:
    """An index folder of synthetic vectors, and the truth about some queries."""
    folder.mkdir()
    corpus = SyntheticCorpus()
    index = faiss.IndexFlatIP(DIMENSION)
    for chunk in corpus.chunks(count):
        index.add(chunk)
        _say(f"{index.ntotal} of {count} vectors")
    queries = corpus.vectors(QUERIES)
    _, rows = index.search(queries, K)
    scans = []
    faiss.omp_set_num_threads(1)
    for query in queries[:10]:
        started_s = time.perf_counter()
        index.search(query[None], K)
        scans.append(time.perf_counter() - started_s)
    faiss.write_index(index, str(folder / VECTORS_FILE))
    documents = [Document(str(row), "", "") for row in range(count)]
    write_documents(folder, documents)
    stamp = stamp_of(documents, "synthetic")
    write_manifest(folder, Manifest(stamp, "synthetic", DIMENSION, 1, count, "synthetic", "none"))
    return Truth(queries, rows, float(np.median(scans)))


def served(started: Processes, folder: Path, flags: Sequence[str]) -> Running:
    """The real server over that folder, once it is ready."""
    port = free_port()
    arguments = ["-m", "rag_service.vector_db", "--port", str(port), "--index", str(folder), *flags]
    running = started.start("vector-db", arguments, port=port)
    ends_s = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < ends_s:
        if running.process.poll() is not None:
            raise SystemExit(f"error: the vector DB ended:\n{running.log.read_text()[-2000:]}")
        try:
            running.get("/healthz")
            return running
        except OSError:
            time.sleep(0.2)
    raise SystemExit("error: the vector DB was not ready within an hour")


def searched(running: Running, truth: Truth, rate: float, seconds: float) -> Searched:
    """Searches at `rate` per second, whatever the answers do."""
    bodies = [search_body(query, K) for query in truth.queries]
    process = psutil.Process(running.pid)
    cpu_s: list[float] = []

    def note_cpu() -> None:
        times = process.cpu_times()
        cpu_s.append(times.user + times.system)

    answers = uvloop.run(
        search_open_loop(running.port, bodies, rate=rate, seconds=seconds, at_start=note_cpu)
    )
    note_cpu()
    rows = [{int(hit["id"]) for hit in json.loads(answer.body)["results"][0]} for answer in answers]
    truths = [set(truth.rows[answer.number].tolist()) for answer in answers]
    hits = [len(found & right) for found, right in zip(rows, truths, strict=True)]
    return Searched(
        np.array([answer.took_s for answer in answers]),
        np.array([answer.lag_s for answer in answers]),
        float(np.mean(hits)) / K,
        cpu_s[1] - cpu_s[0],
    )


def written(running: Running, callers: int) -> Written:
    """How many writes of one point are acknowledged a second, and what each costs the server."""
    process = psutil.Process(running.pid)
    before = process.cpu_times()
    rate = uvloop.run(write_closed_loop(running.port, callers, WRITE_S, DIMENSION))
    after = process.cpu_times()
    cpu_s = after.user + after.system - before.user - before.system
    return Written(callers, rate, cpu_s / (rate * WRITE_S))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit code 1 when the target is missed at a million vectors and 50 searches a second."""
    parser = argparse.ArgumentParser(prog="python -m bench.vector_db", description=__doc__)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--index-kind", default="auto", choices=("auto", "flat", "ivf", "hnsw"))
    parser.add_argument("--rate", type=float, default=50.0, help="searches a second")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("flags", nargs="*", help="more flags of the server, behind --: -- --nprobe 64")
    options = parser.parse_args(arguments)
    with TemporaryDirectory(prefix="ragquake-bench-") as home, processes() as started:
        folder = Path(home) / "index"
        truth = ingested(folder, options.vectors)
        begun_s = time.perf_counter()
        running = served(started, folder, ["--index-kind", options.index_kind, *options.flags])
        ready_s = time.perf_counter() - begun_s
        index = running.get("/healthz")["index"]
        found = searched(running, truth, options.rate, options.seconds)
        memory = psutil.Process(running.pid).memory_info()
        writes = [written(running, callers) for callers in (1, 32)]
        running.end()
        begun_s = time.perf_counter()
        again = served(started, folder, ["--index-kind", options.index_kind, *options.flags])
        again_s = time.perf_counter() - begun_s
        again.end()
    p50, p95, p99 = np.percentile(found.latencies_s, [50, 95, 99])
    met = p95 <= TARGET_P95_S and found.recall_ratio >= TARGET_RECALL
    print(f"{options.vectors} x {DIMENSION} synthetic vectors, index {json.dumps(index)}")
    print(f"first start (builds the index) {ready_s:.0f} s, next start {again_s:.1f} s")
    mapped = getattr(memory, "shared", 0)  # pages of files count as shared, however many map them
    own_gb, mapped_gb = (memory.rss - mapped) / 1e9, mapped / 1e9
    print(f"memory of the server: {own_gb:.2f} GB of its own and {mapped_gb:.2f} GB of mapped files")
    print(
        f"{len(found.latencies_s)} searches at {options.rate:g}/s, k={K}, over HTTP, from the intended start:"
    )
    print(f"  p50 {p50 * 1e3:.1f} ms   p95 {p95 * 1e3:.1f} ms   p99 {p99 * 1e3:.1f} ms")
    print(f"  recall@{K} {found.recall_ratio:.4f} of Flat's answers")
    print(f"  CPU of the server {found.cpu_s / len(found.latencies_s) * 1e3:.2f} ms a search")
    print(f"peer: FAISS Flat in process, one query, one thread: {truth.scan_s * 1e3:.1f} ms")
    for item in writes:
        cost = f"{item.cpu_s * 1e3:.2f} ms of the server's CPU each"
        print(f"acknowledged writes of one point, {item.callers} callers: {item.rate:.0f}/s, {cost}")
    late_s, load = np.percentile(found.lags_s, 99), os.getloadavg()[0]
    print(f"generator: {late_s * 1e3:.1f} ms late at p99; load average of the machine {load:.1f}")
    print(f"target p95 <= 15 ms at recall >= 0.95: {'met' if met else 'missed'}")
    return 0 if met else 1


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
