"""What a reader sees: the collection at one version, never changed once it is published.

A search works on one view from its beginning to its end, so a write in between cannot tear it. The ingest's
part is searched by its index without the rows that were deleted or replaced; points written since are few and
compared one by one, except for a prefix that was sealed into an index of its own when there were many. The
buffers behind a view only grow, so a view shares them with its successors and costs two small bit masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag_service.vector_db.base import Base
from rag_service.vector_db.kinds import Nearest, Searcher
from rag_service.vector_db.operations import Vectors

Bits = npt.NDArray[np.uint8]

_PIECE = 8192
"""Rows that are compared at a time: with 64 queries 2 MB of scores, however many rows there are."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A document found, and how near it is: the cosine, as both vectors are normalised."""

    id: str
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """Points written since the ingest, in the order of writing; `alive` says which are still true."""

    vectors: Vectors
    ids: list[str]
    alive: npt.NDArray[np.bool_]
    sealed: Searcher | None

    def search(self, queries: Vectors, k: int) -> Nearest:
        start = len(self.sealed) if self.sealed is not None else 0
        fresh = _scan(queries, self.vectors[start : len(self.alive)], self.alive[start:], k, start)
        if self.sealed is None:
            return fresh
        bits = np.packbits(self.alive[:start], bitorder="little")
        return merged(self.sealed.search(queries, k, bits), fresh, k)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One version of the collection. `base_alive` is None while every row of the ingest is true."""

    base: Base
    base_alive: Bits | None
    base_dead: int
    tail: Tail | None
    written: int
    version: int

    def __len__(self) -> int:
        return len(self.base) - self.base_dead + self.written

    def search(self, queries: Vectors, k: int) -> list[list[Hit]]:
        """The `k` nearest points of each query, best first; fewer where there are fewer."""
        k = min(k, len(self))
        if k == 0:
            return [[] for _ in queries]
        found = self.base.searcher.search(queries, min(k, len(self.base)), self.base_alive)
        if self.tail is None:
            return [
                _hits(scores, rows, self.base.ids)
                for scores, rows in zip(found.scores.tolist(), found.rows.tolist(), strict=True)
            ]
        offset = len(self.base)
        tail = self.tail.search(queries, k)
        moved = Nearest(tail.scores, np.where(tail.rows >= 0, tail.rows + offset, -1))
        best = merged(found, moved, k)
        return [
            [
                Hit(self.base.ids[row] if row < offset else self.tail.ids[row - offset], score)
                for score, row in zip(scores, rows, strict=True)
                if row >= 0
            ]
            for scores, rows in zip(best.scores.tolist(), best.rows.tolist(), strict=True)
        ]


def merged(one: Nearest, other: Nearest, k: int) -> Nearest:
    """The `k` best of two findings over different rows."""
    scores = np.concatenate([one.scores, other.scores], axis=1)
    rows = np.concatenate([one.rows, other.rows], axis=1)
    scores = np.where(rows >= 0, scores, -np.inf)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return Nearest(np.take_along_axis(scores, best, 1), np.take_along_axis(rows, best, 1))


def _hits(scores: list[float], rows: list[int], ids: tuple[str, ...]) -> list[Hit]:
    return [Hit(ids[row], score) for score, row in zip(scores, rows, strict=True) if row >= 0]


def _scan(queries: Vectors, vectors: Vectors, alive: npt.NDArray[np.bool_], k: int, offset: int) -> Nearest:
    best = _compared(queries, vectors[:_PIECE], alive[:_PIECE], k, offset)
    for start in range(_PIECE, len(alive), _PIECE):
        end = start + _PIECE
        best = merged(best, _compared(queries, vectors[start:end], alive[start:end], k, offset + start), k)
    return best


def _compared(
    queries: Vectors, vectors: Vectors, alive: npt.NDArray[np.bool_], k: int, offset: int
) -> Nearest:
    scores = queries @ vectors.T
    scores[:, ~alive] = -np.inf
    if k < scores.shape[1]:
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    else:
        best = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    found = np.take_along_axis(scores, best, 1)
    return Nearest(found, np.where(alive[best], best + offset, -1))
