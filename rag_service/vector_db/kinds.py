"""The kinds of index, and which one a collection gets.

All are FAISS over inner product. `Flat` compares with every vector: exact, no training, and fast enough while
a scan of all vectors takes less than a few milliseconds. Beyond that the approximate kinds read a part: IVF
the `nprobe` nearest of `nlist` cells, HNSW a walk through a graph. The thresholds and defaults come from
`make bench-vector-db`; docs/explanation/vector-db.md has the figures. On a GPU (a FAISS built for it, and a
device) Flat and IVF run there; FAISS has no HNSW for GPUs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import faiss
import numpy as np
import numpy.typing as npt

from rag_service.vector_db.operations import Vectors

FLAT_UP_TO = 50_000
"""Vectors up to which a scan is fine: 77 MB of 384 numbers, some 5 ms on one core."""
IVF_TRAINING_PER_CELL = 64
NPROBE = 32
"""Recall 0.97 at 100,000 vectors and 0.99 at a million, in under 2 ms."""

_faiss: Any = faiss  # its type stubs lag behind the library
KINDS = ("auto", "flat", "ivf", "hnsw")


class IndexKind(Protocol):
    """How one kind is built and searched."""

    @property
    def name(self) -> str: ...

    @property
    def parameters(self) -> Mapping[str, int]:
        """What was chosen, for health and for the name of a built file."""
        ...

    def build(self, vectors: Vectors) -> Any:
        """A FAISS index of these vectors, in their order."""
        ...

    def search_parameters(self, only: Any | None) -> Any:
        """FAISS's search parameters; `only` is an IDSelector of the rows that may be found."""
        ...

    def search_all(self, index: Any, queries: Vectors, k: int, only: Any | None) -> Any:
        """FAISS's scores and rows after a look at every row, for what the quick way does not find."""
        ...


@dataclass(frozen=True, slots=True)
class Flat:
    """Every vector, exactly."""

    @property
    def name(self) -> str:
        return "flat"

    @property
    def parameters(self) -> Mapping[str, int]:
        return {}

    def build(self, vectors: Vectors) -> Any:
        index = _faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        return index

    def search_parameters(self, only: Any | None) -> Any:
        return _faiss.SearchParameters(sel=only) if only is not None else None

    def search_all(self, index: Any, queries: Vectors, k: int, only: Any | None) -> Any:
        return index.search(queries, k, params=self.search_parameters(only))


@dataclass(frozen=True, slots=True)
class Ivf:
    """`nlist` cells around trained centres; a search reads the `nprobe` nearest."""

    nlist: int
    nprobe: int

    @property
    def name(self) -> str:
        return "ivf"

    @property
    def parameters(self) -> Mapping[str, int]:
        return {"nlist": self.nlist, "nprobe": self.nprobe}

    def build(self, vectors: Vectors) -> Any:
        dimension = vectors.shape[1]
        index = _faiss.IndexIVFFlat(
            _faiss.IndexFlatIP(dimension), dimension, self.nlist, _faiss.METRIC_INNER_PRODUCT
        )
        index.cp.max_points_per_centroid = IVF_TRAINING_PER_CELL
        chosen = np.random.default_rng(0).permutation(len(vectors))[: IVF_TRAINING_PER_CELL * self.nlist]
        index.train(np.ascontiguousarray(vectors[np.sort(chosen)]))
        index.add(vectors)
        return index

    def search_parameters(self, only: Any | None) -> Any:
        return _faiss.SearchParametersIVF(nprobe=self.nprobe, sel=only)

    def search_all(self, index: Any, queries: Vectors, k: int, only: Any | None) -> Any:
        everywhere = _faiss.SearchParametersIVF(nprobe=self.nlist, sel=only)
        return index.search(queries, k, params=everywhere)


@dataclass(frozen=True, slots=True)
class Hnsw:
    """A graph with `m` links a node; a search keeps `ef_search` candidates."""

    m: int
    ef_construction: int
    ef_search: int

    @property
    def name(self) -> str:
        return "hnsw"

    @property
    def parameters(self) -> Mapping[str, int]:
        return {"m": self.m, "ef_construction": self.ef_construction, "ef_search": self.ef_search}

    def build(self, vectors: Vectors) -> Any:
        index = _faiss.IndexHNSWFlat(vectors.shape[1], self.m, _faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = self.ef_construction
        index.add(vectors)
        return index

    def search_parameters(self, only: Any | None) -> Any:
        return _faiss.SearchParametersHNSW(efSearch=self.ef_search, sel=only)

    def search_all(self, index: Any, queries: Vectors, k: int, only: Any | None) -> Any:
        vectors = _faiss.downcast_index(index.storage)
        return vectors.search(queries, k, params=Flat().search_parameters(only))


@dataclass(frozen=True, slots=True)
class Tuning:
    """What a person may ask for; None is the default that was measured."""

    kind: str = "auto"
    nlist: int | None = None
    nprobe: int | None = None
    m: int | None = None
    ef_search: int | None = None


def choose(tuning: Tuning, size: int) -> IndexKind:
    """The kind for `size` vectors: the one asked for, else Flat while a scan is fast and IVF beyond."""
    kind = tuning.kind if tuning.kind != "auto" else ("flat" if size <= FLAT_UP_TO else "ivf")
    if kind == "ivf":
        nlist = min(tuning.nlist or default_nlist(size), max(1, size))
        return Ivf(nlist, min(tuning.nprobe or NPROBE, nlist))
    if kind == "hnsw":
        return Hnsw(tuning.m or 32, 120, tuning.ef_search or 128)
    if kind == "flat":
        return Flat()
    raise ValueError(f"{kind!r} is not an index kind; allowed: {', '.join(KINDS)}")


def default_nlist(size: int) -> int:
    """About twice the square root, as a power of two: cells and centres then cost about the same to read."""
    return 1 << max(0, round(math.log2(2 * math.sqrt(max(size, 1)))))


def kind_of(index: Any, tuning: Tuning) -> IndexKind:
    """The kind of an index that was read from a file."""
    if isinstance(index, _faiss.IndexIVF):
        nlist = int(index.nlist)
        return Ivf(nlist, min(tuning.nprobe or NPROBE, nlist))
    if isinstance(index, _faiss.IndexHNSW):
        found = index.hnsw
        return Hnsw(int(found.nb_neighbors(1)), int(found.efConstruction), tuning.ef_search or 128)
    return Flat()


@dataclass(frozen=True, slots=True)
class Nearest:
    """Scores and rows of the nearest vectors, a line for each query, best first; row -1 is none."""

    scores: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]


class Searcher:
    """A built index, on the CPU or on a GPU, that many threads may search at a time."""

    device = "cpu"

    def __init__(self, kind: IndexKind, index: Any) -> None:
        self.kind = kind
        self.index = index
        self._all = kind.search_parameters(None)

    def __len__(self) -> int:
        return int(self.index.ntotal)

    def search(self, queries: Vectors, k: int, alive: npt.NDArray[np.uint8] | None) -> Nearest:
        """The `k` nearest rows; with `alive`, a bit for each row, only those whose bit is set.

        An approximate kind looks where the nearest should be, and all of those may be dead: a query that got
        fewer rows than there are is compared with every row.
        """
        only = None if alive is None else _faiss.IDSelectorBitmap(alive)
        parameters = self._all if only is None else self.kind.search_parameters(only)
        scores, rows = self.index.search(queries, k, params=parameters)
        again = self._misses(rows, k, alive)
        if again.any():
            scores[again], rows[again] = self.kind.search_all(self.index, queries[again], k, only)
        return Nearest(scores, rows)

    def _misses(
        self, rows: npt.NDArray[np.int64], k: int, alive: npt.NDArray[np.uint8] | None
    ) -> npt.NDArray[np.bool_]:
        """Which queries found fewer rows than they could."""
        found = (rows >= 0).sum(axis=1)
        if (found >= k).all():
            return np.zeros(len(rows), dtype=bool)
        count = len(self) if alive is None else int(np.bitwise_count(alive).sum())
        few: npt.NDArray[np.bool_] = found < min(k, count)
        return few
