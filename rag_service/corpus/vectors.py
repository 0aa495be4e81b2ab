"""The vectors of an index folder: looked at before they are trusted, and again when they were just written.

FAISS says RuntimeError for whatever it cannot read or write, and a disk that is full may show only in a file
that is too short. Vectors are mapped into memory, so a look at them copies nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag_service.corpus.document import CorpusError

Vectors = NDArray[np.float32]
_CHECKED_AT_ONCE = 65_536


def open_vectors(file: Path, count: int, dimension: int) -> Any:
    """The FAISS index in a file. Raises CorpusError unless it holds that many vectors, all of them finite."""
    import faiss

    try:
        index = faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise CorpusError(f"{file} is not a FAISS index ({_reason(error)})") from None
    if (index.ntotal, index.d) != (count, dimension):
        raise CorpusError(
            f"{file} holds {index.ntotal} vectors of {index.d} numbers instead of {count} of {dimension}"
        )
    if isinstance(index, faiss.IndexFlat) and not all_finite(index):
        raise CorpusError(f"{file} holds numbers that are not finite")
    return index


def write_vectors(file: Path, vectors: Vectors) -> None:
    """Write a Flat index and read it back. Raises CorpusError."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    try:
        faiss.write_index(index, str(file))
    except RuntimeError as error:
        raise CorpusError(f"{file} cannot be written ({_reason(error)}); make room and start again") from None
    try:
        open_vectors(file, *vectors.shape)
    except CorpusError as error:
        raise CorpusError(f"{error} after it was written; make room and start again") from None


def flat_vectors(index: Any) -> Vectors:
    """A Flat index's own numbers, not a copy of them."""
    import faiss

    flat: Vectors = faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d)
    return flat.reshape(index.ntotal, index.d)


def all_finite(index: Any) -> bool:
    """Whether a Flat index holds numbers only; one that is none makes comparisons with it meaningless."""
    vectors = flat_vectors(index)
    pieces = range(0, len(vectors), _CHECKED_AT_ONCE)
    return all(np.isfinite(vectors[start : start + _CHECKED_AT_ONCE].sum()) for start in pieces)


def _reason(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[-1]
