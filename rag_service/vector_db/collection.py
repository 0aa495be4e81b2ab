"""One collection of vectors in FAISS, opened only when its parts fit each other.

Public incidents this refuses: an index half loaded after a restart that answers as if whole, and an index
made with another embedding model. Both would otherwise show as good latency and worthless answers. OpenMP is
kept to one thread, because a search over a few thousand vectors takes less time than waking a second one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from rag_service.corpus.document import CorpusError
from rag_service.corpus.index import VECTORS_FILE, Manifest, how_to_build, load_documents

NAME = "corpus"


@dataclass(frozen=True, slots=True)
class Hit:
    """A document found, and how near it is: the cosine, as both vectors are normalised."""

    id: str
    score: float


class Collection:
    """Documents' vectors by inner product."""

    def __init__(self, manifest: Manifest, ids: Sequence[str], index: Any) -> None:
        self.manifest = manifest
        self._ids = tuple(ids)
        self._index = index

    def __len__(self) -> int:
        return len(self._ids)

    def search(self, vectors: Sequence[Sequence[float]], k: int) -> list[list[Hit]]:
        """The `k` nearest documents of each vector, best first; fewer where the collection is smaller."""
        queries = np.asarray(vectors, dtype=np.float32)
        scores, positions = self._index.search(queries, min(k, len(self._ids)))
        return [
            [
                Hit(self._ids[position], float(score))
                for score, position in zip(*row, strict=True)
                if position >= 0
            ]
            for row in zip(scores, positions, strict=True)
        ]


def open_collection(index_dir: Path) -> Collection:
    """The collection in an index folder. Raises CorpusError for one that cannot be trusted."""
    loaded = load_documents(index_dir)
    manifest = loaded.manifest
    path = index_dir / VECTORS_FILE
    try:
        index = faiss.read_index(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise CorpusError(f"{path} is not a FAISS index ({reason}); {how_to_build(index_dir)}") from None
    if index.d != manifest.dimension:
        raise CorpusError(
            f"{path} holds vectors of {index.d} numbers, its manifest says {manifest.dimension} "
            f"({manifest.model}); {how_to_build(index_dir)}"
        )
    if index.ntotal != manifest.documents:
        raise CorpusError(
            f"{path} holds {index.ntotal} vectors for {manifest.documents} documents; "
            f"{how_to_build(index_dir)}"
        )
    faiss.omp_set_num_threads(1)
    return Collection(manifest, [document.id for document in loaded.documents], index)
