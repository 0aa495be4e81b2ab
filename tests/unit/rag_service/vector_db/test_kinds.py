"""Kinds of index: chosen by size or asked for, near enough to the truth, and never showing a dead row."""

from __future__ import annotations

import threading
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pytest

from rag_service.vector_db import gpu
from rag_service.vector_db.kinds import (
    FLAT_UP_TO,
    Flat,
    Hnsw,
    IndexKind,
    Ivf,
    Searcher,
    Tuning,
    choose,
    default_nlist,
    kind_of,
)

KINDS: list[IndexKind] = [Flat(), Ivf(16, 8), Hnsw(16, 40, 64)]
Vectors = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    """Two thousand directions around forty."""
    faiss.omp_set_num_threads(1)
    random = np.random.default_rng(3)
    centres = np.repeat(random.normal(size=(40, 24)), 50, axis=0)
    around = (centres + 0.7 * random.normal(size=centres.shape)).astype(np.float32)
    return around / np.linalg.norm(around, axis=1, keepdims=True)


def _exact(vectors: Vectors, queries: Vectors, k: int, alive: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    scores = queries @ vectors.T
    scores[:, ~alive] = -np.inf
    return np.argsort(-scores, axis=1)[:, :k]


@pytest.mark.parametrize(
    ("asked", "size", "kind"),
    [
        (Tuning(), 1, Flat()),
        (Tuning(), FLAT_UP_TO, Flat()),
        (Tuning(), FLAT_UP_TO + 1, Ivf(512, 32)),
        (Tuning(), 1_000_000, Ivf(2048, 32)),
        (Tuning(kind="flat"), 1_000_000, Flat()),
        (Tuning(kind="hnsw"), 10, Hnsw(32, 120, 128)),
        (Tuning(kind="hnsw", m=8, ef_search=50), 10, Hnsw(8, 120, 50)),
        (Tuning(kind="ivf"), 10, Ivf(8, 8)),
        (Tuning(kind="ivf", nlist=100, nprobe=7), 10, Ivf(10, 7)),
        (Tuning(nprobe=64), 1_000_000, Ivf(2048, 64)),
    ],
)
def test_the_kind_follows_from_size_unless_asked_for(asked: Tuning, size: int, kind: IndexKind) -> None:
    """Exact while a scan is fast, IVF beyond; no more cells than vectors."""
    assert choose(asked, size) == kind


def test_an_unknown_kind_is_refused_with_those_that_are_allowed() -> None:
    """The message lists them."""
    with pytest.raises(ValueError, match="'lsh' is not an index kind; allowed: auto, flat, ivf, hnsw"):
        choose(Tuning(kind="lsh"), 10)


def test_cells_grow_with_the_square_root() -> None:
    """Always a power of two, always at least one."""
    assert [default_nlist(size) for size in (0, 1, 1000, 50_000, 1_000_000)] == [2, 2, 64, 512, 2048]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("alive_ratio", [1.0, 0.9, 0.3])
def test_each_kind_finds_what_an_exact_scan_finds(
    vectors: Vectors, kind: IndexKind, alive_ratio: float
) -> None:
    """Recall at 10 is at least 0.95, exactly 1 for Flat, and no dead row is found."""
    random = np.random.default_rng(5)
    alive = random.random(len(vectors)) < alive_ratio
    queries = vectors[:100] + 0.1 * random.normal(size=(100, vectors.shape[1])).astype(np.float32)
    bits = None if alive_ratio == 1.0 else np.packbits(alive, bitorder="little")
    found = Searcher(kind, kind.build(vectors)).search(queries, 10, bits)
    truth = _exact(vectors, queries, 10, alive)
    recall = np.mean(
        [len({*mine} & {*true}) / 10 for mine, true in zip(found.rows.tolist(), truth.tolist(), strict=True)]
    )
    assert recall >= (1.0 if isinstance(kind, Flat) else 0.95)
    assert alive[found.rows[found.rows >= 0]].all()


@pytest.mark.parametrize("kind", [Flat(), Ivf(16, 1), Hnsw(8, 40, 4)], ids=lambda kind: kind.name)
@pytest.mark.parametrize("left", [0, 3, 40])
def test_what_is_alive_is_found_however_far_away(vectors: Vectors, kind: IndexKind, left: int) -> None:
    """All that was near is deleted: the answer is what is left, not nothing."""
    queries = vectors[:5]
    alive = np.zeros(len(vectors), dtype=bool)
    alive[np.argsort(queries[0] @ vectors.T)[:left]] = True
    found = Searcher(kind, kind.build(vectors)).search(queries, 10, np.packbits(alive, bitorder="little"))
    truth = _exact(vectors, queries, min(left, 10), alive)
    assert np.array_equal(found.rows[:, : min(left, 10)], truth)
    assert (found.rows[:, left:] == -1).all()


@pytest.mark.parametrize("nprobe", [1, 16])
def test_cells_that_are_small_do_not_make_the_answer_short(vectors: Vectors, nprobe: int) -> None:
    """With nothing deleted, one cell of a few rows is not all there is."""
    kind = Ivf(16, nprobe)
    found = Searcher(kind, kind.build(vectors[:64])).search(vectors[:20], 60, None)
    assert (found.rows >= 0).all()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_kind_of_a_file_is_recognised(vectors: Vectors, kind: IndexKind) -> None:
    """An index that somebody else built is searched as what it is."""
    found = kind_of(kind.build(vectors), Tuning(nprobe=8, ef_search=64))
    assert found == kind


class FakeGpuFaiss:
    """FAISS with a GPU that, as the real one, takes no search parameters and one thread at a time."""

    def __init__(self, gpus: int) -> None:
        self.gpus = gpus
        self.busy = threading.Lock()

    def get_num_gpus(self) -> int:
        return self.gpus

    class StandardGpuResources:
        """Memory on a GPU."""

    def index_cpu_to_gpu(self, _: object, device: int, index: Any) -> Any:
        assert device == 0
        busy = self.busy

        class OnGpu:
            nprobe = 1

            def search(self, queries: Vectors, k: int) -> Any:
                assert k <= 2048, "more than a GPU finds"
                assert busy.acquire(blocking=False), "two threads at a time"
                try:
                    if isinstance(index, faiss.IndexIVF):
                        index.nprobe = self.nprobe
                    return index.search(queries, k)
                finally:
                    busy.release()

        return OnGpu()


@pytest.mark.parametrize("kind", KINDS[:2], ids=lambda kind: kind.name)
@pytest.mark.parametrize("alive_ratio", [1.0, 0.9])
def test_a_gpu_gives_the_same_answers(
    vectors: Vectors, kind: IndexKind, alive_ratio: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dead rows are asked for beyond k and dropped, as a GPU's index takes no selector."""
    monkeypatch.setattr(gpu, "_faiss", FakeGpuFaiss(1))
    alive = np.random.default_rng(5).random(len(vectors)) < alive_ratio
    bits = None if alive_ratio == 1.0 else np.packbits(alive, bitorder="little")
    index = kind.build(vectors)
    on_gpu = gpu.searcher(kind, index)
    assert on_gpu.device == "gpu"
    here, there = Searcher(kind, index).search(vectors[:50], 7, bits), on_gpu.search(vectors[:50], 7, bits)
    assert np.array_equal(here.rows, there.rows)
    assert np.allclose(here.scores, there.scores)


@pytest.mark.parametrize("kind", [Flat(), Ivf(16, 2)], ids=lambda kind: kind.name)
@pytest.mark.parametrize("left", [3, 30])
def test_a_gpu_with_more_dead_rows_than_it_can_skip_leaves_it_to_the_cpu(
    vectors: Vectors, kind: IndexKind, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left is found, although thousands of dead rows are nearer."""
    monkeypatch.setattr(gpu, "_faiss", FakeGpuFaiss(1))
    many = np.concatenate([vectors, vectors + np.float32(1e-3)])
    alive = np.zeros(len(many), dtype=bool)
    alive[np.argsort(many[0] @ many.T)[:left]] = True
    bits = np.packbits(alive, bitorder="little")
    found = gpu.searcher(kind, kind.build(many)).search(many[:1], 3, bits)
    assert np.array_equal(found.rows, _exact(many, many[:1], 3, alive))


@pytest.mark.parametrize("kind", [Flat(), Ivf(16, 1)], ids=lambda kind: kind.name)
def test_a_gpu_that_finds_too_few_leaves_it_to_the_cpu(
    vectors: Vectors, kind: IndexKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cells are no others than the CPU's: the nearest may all be dead."""
    monkeypatch.setattr(gpu, "_faiss", FakeGpuFaiss(1))
    alive = np.zeros(len(vectors), dtype=bool)
    alive[np.argsort(vectors[0] @ vectors.T)[:4]] = True
    bits = np.packbits(alive, bitorder="little")
    found = gpu.searcher(kind, kind.build(vectors)).search(vectors[:1], 4, bits)
    assert np.array_equal(found.rows, _exact(vectors, vectors[:1], 4, alive))


@pytest.mark.parametrize(("kind", "gpus"), [(Flat(), 0), (Hnsw(8, 40, 16), 1)])
def test_without_a_gpu_or_for_hnsw_the_cpu_searches(
    vectors: Vectors, kind: IndexKind, gpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same API either way."""
    monkeypatch.setattr(gpu, "_faiss", FakeGpuFaiss(gpus))
    assert gpu.searcher(kind, kind.build(vectors[:100])).device == "cpu"
