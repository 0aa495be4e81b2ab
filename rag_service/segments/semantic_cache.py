"""Which kept answer's question lies nearest to a new one: cosine over the vectors that embedding made anyway.

One matrix with a row per kept answer and one product per look; 1,000 rows of 384 take some 0.1 ms, so there
is no index to keep in step. A removed row is replaced by the last one. Nearness alone decides nothing
(`guards` says why): this only names candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag_service.segments.exact_cache import Key

_FIRST_ROWS = 16


@dataclass(frozen=True, slots=True)
class Candidate:
    """A kept question and its cosine similarity to the one asked."""

    key: Key
    similarity: float


class SemanticIndex:
    """Normalised question vectors by key."""

    def __init__(self) -> None:
        self._keys: list[Key] = []
        self._rows: dict[Key, int] = {}
        self._matrix: npt.NDArray[np.float32] = np.zeros((0, 0), dtype=np.float32)

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: Key, vector: npt.NDArray[np.float32]) -> None:
        """`vector` has length 1, as the embedder makes it."""
        row = self._rows.get(key)
        if row is None:
            row = len(self._keys)
            self._make_room(row, len(vector))
            self._keys.append(key)
            self._rows[key] = row
        self._matrix[row] = vector

    def remove(self, key: Key) -> None:
        """Does nothing for a key that is not there."""
        row = self._rows.pop(key, None)
        if row is None:
            return
        last = self._keys.pop()
        if last != key:
            self._matrix[row] = self._matrix[len(self._keys)]
            self._keys[row] = last
            self._rows[last] = row

    def nearest(self, vector: npt.NDArray[np.float32], min_similarity: float) -> tuple[Candidate, ...]:
        """Questions at least that similar, most similar first."""
        if not self._keys:
            return ()
        similarities = self._matrix[: len(self._keys)] @ vector
        near = np.flatnonzero(similarities >= min_similarity)
        best = near[np.argsort(-similarities[near], kind="stable")].tolist()
        return tuple(Candidate(self._keys[row], float(similarities[row])) for row in best)

    def _make_room(self, row: int, dimension: int) -> None:
        if row < len(self._matrix):
            return
        grown = np.zeros((max(_FIRST_ROWS, 2 * row), dimension), dtype=np.float32)
        if row:
            grown[:row] = self._matrix[:row]
        self._matrix = grown
