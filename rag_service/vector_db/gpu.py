"""The GPU, when the installed FAISS was built for one and one is there; nothing changes otherwise.

FAISS on a GPU takes no selector and is not safe for two threads at a time. So a search asks for as many more
as are dead and drops those; where that is beyond FAISS's bound of 2048, or finds too few, the CPU searches.
And searches take turns, which costs little because they come in batches.
"""

from __future__ import annotations

import threading
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from rag_service.vector_db.kinds import Flat, IndexKind, Ivf, Nearest, Searcher
from rag_service.vector_db.operations import Vectors

_faiss: Any = faiss  # its type stubs lag behind the library
_MOST_FOUND = 2048


def available() -> bool:
    """Whether this FAISS can use a GPU here."""
    return hasattr(_faiss, "StandardGpuResources") and _faiss.get_num_gpus() > 0


def searcher(kind: IndexKind, index: Any, *, allowed: bool = True) -> Searcher:
    """The index on the GPU where that is possible, else where it is."""
    if allowed and isinstance(kind, Flat | Ivf) and available():
        return GpuSearcher(kind, index)
    return Searcher(kind, index)


class GpuSearcher(Searcher):
    """A copy of a Flat or IVF index in a GPU's memory."""

    device = "gpu"

    def __init__(self, kind: IndexKind, index: Any) -> None:
        super().__init__(kind, index)
        self._resources = _faiss.StandardGpuResources()
        self._copy = _faiss.index_cpu_to_gpu(self._resources, 0, index)
        if isinstance(kind, Ivf):
            self._copy.nprobe = kind.nprobe
        self._turn = threading.Lock()

    def search(self, queries: Vectors, k: int, alive: npt.NDArray[np.uint8] | None) -> Nearest:
        found = self._found_here(queries, k, alive)
        if found is None or self._misses(found.rows, k, alive).any():
            return super().search(queries, k, alive)
        return found

    def _found_here(self, queries: Vectors, k: int, alive: npt.NDArray[np.uint8] | None) -> Nearest | None:
        """What the GPU finds; None when so many rows are dead that it could not skip them all."""
        if alive is None:
            with self._turn:
                return Nearest(*self._copy.search(queries, k))
        bits = np.unpackbits(alive, bitorder="little", count=len(self)).astype(bool)
        dead = len(self) - int(bits.sum())
        wanted = min(k + dead, len(self))
        if wanted > _MOST_FOUND:
            return None
        with self._turn:
            scores, rows = self._copy.search(queries, wanted)
        kept = (rows >= 0) & bits[rows]
        scores, rows = np.where(kept, scores, -np.inf), np.where(kept, rows, -1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return Nearest(np.take_along_axis(scores, best, 1), np.take_along_axis(rows, best, 1))
