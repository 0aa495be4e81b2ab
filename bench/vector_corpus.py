"""Synthetic vectors for measuring an index, shaped more like embeddings than noise is.

Independent random directions in 384 dimensions are all about equally far apart, which no index can exploit
and no corpus looks like. These lie around topics of several sizes on three levels, with a tail of its own for
each vector: a topic's centre, a subtopic near it, a vector near that. Queries come from the same process but
are no stored vector. Real corpora differ; recall on this one says how the kinds compare, not what a user's
corpus will give.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
DIMENSION = 384
_TOPICS = 200
_SUBTOPICS = 100
_SUBTOPIC_SPREAD = 0.9
_VECTOR_SPREAD = 0.9
_CHUNK = 50_000


class SyntheticCorpus:
    """Normalised vectors around topics and subtopics; the same seed gives the same vectors."""

    def __init__(self, seed: int = 20) -> None:
        self._random = np.random.default_rng(seed)
        topics = self._directions(_TOPICS)
        near = np.repeat(topics, _SUBTOPICS, axis=0)
        self._subtopics = _normalised(near + _SUBTOPIC_SPREAD * self._directions(len(near)))
        weights = self._random.pareto(1.5, len(near)) + 0.1
        self._weights = weights / weights.sum()

    def chunks(self, count: int) -> Iterator[Vectors]:
        """`count` vectors, some ten thousand at a time."""
        for start in range(0, count, _CHUNK):
            chosen = self._random.choice(len(self._subtopics), min(_CHUNK, count - start), p=self._weights)
            spread = _VECTOR_SPREAD * self._directions(len(chosen))
            yield _normalised(self._subtopics[chosen] + spread)

    def vectors(self, count: int) -> Vectors:
        """`count` vectors at once."""
        return np.concatenate(list(self.chunks(count)))

    def _directions(self, count: int) -> Vectors:
        """Directions that favour some dimensions over others, as embeddings do."""
        scale = (1.0 / np.sqrt(1.0 + np.arange(DIMENSION))).astype(np.float32)
        return _normalised(self._random.standard_normal((count, DIMENSION), dtype=np.float32) * scale)


def _normalised(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / lengths).astype(np.float32)
