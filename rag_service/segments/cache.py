"""Answers given before, to stand in where no better one can be made.

First the answer to exactly this question; below it the answer to one that lies near and that no guard tells
apart. Only full answers come in (a kept degraded one would look like a whole one for an hour), and only
those made from the corpus that is held now: another stamp empties the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag_service.resilience.deadline import Clock
from rag_service.segments.exact_cache import Bounds, Citation, ExactCache, KeptAnswer, Key
from rag_service.segments.guards import difference
from rag_service.segments.semantic_cache import SemanticIndex

__all__ = ["AnswerCache", "Bounds", "Citation", "KeptAnswer", "Key"]

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Occupancy:
    """How much is kept."""

    entries: int
    size_bytes: int


class AnswerCache:
    """The exact cache and the semantic one over the same answers."""

    def __init__(self, bounds: Bounds, *, min_similarity: float, clock: Clock) -> None:
        self._min_similarity = min_similarity
        self._index = SemanticIndex()
        self._exact = ExactCache(bounds, clock, on_drop=self._index.remove)
        self._stamp = ""

    @property
    def occupancy(self) -> Occupancy:
        return Occupancy(len(self._exact), self._exact.size_bytes)

    def same(self, key: Key) -> KeptAnswer | None:
        """The answer to exactly this question."""
        return self._exact.get(key)

    def alike(self, key: Key, vector: Vector) -> KeptAnswer | None:
        """The answer to the nearest question that asks the same, as far as the guards can see."""
        for candidate in self._index.nearest(vector, self._min_similarity):
            kept = candidate.key
            if kept.differs_only_in_words(key) and difference(kept.question, key.question) is None:
                answer = self._exact.get(kept)  # None where it has become too old
                if answer is not None:
                    return answer
        return None

    def keep(self, key: Key, vector: Vector, answer: KeptAnswer) -> None:
        """Keep a full answer; what was made from another corpus goes."""
        if key.stamp != self._stamp:
            self._exact.clear()
            self._stamp = key.stamp
        if self._exact.put(key, answer):
            self._index.add(key, vector)
