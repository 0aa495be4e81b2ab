"""What was written since the ingest, as the one writer keeps it; readers get views of it.

Vectors, ids and metadata are appended and never overwritten: a point that is replaced or deleted only loses
its `alive` mark. Rows that are dead are left behind when they are the most. When there are many rows, they
are sealed into an index of the kind for their number, in whatever thread asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic_core import to_json

from rag_service.vector_db.base import Base
from rag_service.vector_db.kinds import FLAT_UP_TO, Searcher, Tuning, choose
from rag_service.vector_db.limits import MAX_WRITTEN_POINTS
from rag_service.vector_db.operations import NO_METADATA, Delete, Operation, Upsert, Vectors
from rag_service.vector_db.view import Bits, Tail, View

_FIRST_CAPACITY = 64
CLEAN_FROM = 4096
SEAL_FROM = FLAT_UP_TO // 2
"""Rows outside an index from which they get one: a scan of these takes a few milliseconds."""
default_tuning = Tuning(kind="ivf")


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """One point as it is kept."""

    id: str
    vector: Vectors
    metadata: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """The first rows of an overlay, and how often its rows had been moved when they were taken."""

    vectors: Vectors
    moves: int


class Overlay:
    """The writer's state. One thread at a time."""

    def __init__(self, base: Base, dimension: int) -> None:
        self._base = base
        self._dimension = dimension
        self._rows: dict[str, int] = {}
        self._ids: list[str] = []
        self._metadata: list[bytes] = []
        self._vectors = np.empty((_FIRST_CAPACITY, dimension), dtype=np.float32)
        self._alive = np.zeros(_FIRST_CAPACITY, dtype=bool)
        self._gone: set[str] = set()
        self._base_alive: Bits | None = None
        self._sealed: Searcher | None = None
        self._moves = 0

    def __len__(self) -> int:
        return len(self._rows)

    def full_after(self, points: int) -> bool:
        """Whether that many new points would be too many."""
        return len(self._rows) + points > MAX_WRITTEN_POINTS

    def apply(self, operation: Operation) -> int:
        """Make a write; how many points it put in or took out."""
        if isinstance(operation, Delete):
            return sum(self._take_out(point_id) for point_id in operation.ids)
        for number, point_id in enumerate(operation.ids):
            self._take_out(point_id)
            self._append(point_id, operation.vectors[number], operation.metadata[number])
        return len(operation.ids)

    def view(self, version: int) -> View:
        """The collection as it is now. Clears out dead rows first when they are the most."""
        if len(self._ids) >= CLEAN_FROM and len(self._rows) < len(self._ids) // 2:
            self._clean()
        count = len(self._ids)
        tail = Tail(self._vectors, self._ids, self._alive[:count].copy(), self._sealed) if count else None
        alive = None if self._base_alive is None else self._base_alive.copy()
        return View(self._base, alive, len(self._gone), tail, len(self._rows), version)

    def point(self, point_id: str) -> Stored | None:
        row = self._rows.get(point_id)
        if row is not None:
            return Stored(point_id, self._vectors[row].copy(), self._metadata[row])
        row = None if point_id in self._gone else self._base.rows.get(point_id)
        if row is None:
            return None
        title = to_json({"title": self._base.titles[row]})
        return Stored(point_id, self._base.vector_at(row), title)

    def difference(self) -> tuple[Upsert, tuple[str, ...]]:
        """Everything that differs from the ingest, for a snapshot: what is there and what is gone."""
        rows = np.fromiter(self._rows.values(), dtype=np.int64, count=len(self._rows))
        metadata = tuple(self._metadata[row] for row in rows.tolist())
        return Upsert(tuple(self._rows), self._vectors[rows], metadata), tuple(sorted(self._gone))

    def restore(self, written: Upsert, gone: tuple[str, ...]) -> None:
        """Take over a snapshot, into an overlay that is still empty."""
        self.apply(Delete(gone))
        self.apply(written)

    def wants_seal(self) -> bool:
        """Whether so many rows lie outside an index that a search would notice."""
        sealed = 0 if self._sealed is None else len(self._sealed)
        return len(self._ids) - sealed >= max(SEAL_FROM, sealed // 2)

    def prefix(self) -> Prefix:
        """The rows to seal; safe to read while writes go on, as rows never change."""
        return Prefix(self._vectors[: len(self._ids)], self._moves)

    def attach(self, sealed: Searcher, prefix: Prefix) -> None:
        """Use an index of a prefix, unless rows were moved since."""
        if prefix.moves == self._moves:
            self._sealed = sealed

    def _take_out(self, point_id: str) -> bool:
        row = self._rows.pop(point_id, None)
        if row is not None:
            self._alive[row] = False
            return True
        if point_id in self._gone:
            return False
        row = self._base.rows.get(point_id)
        if row is None:
            return False
        if self._base_alive is None:
            self._base_alive = np.packbits(np.ones(len(self._base), dtype=bool), bitorder="little")
        self._base_alive[row >> 3] &= ~np.uint8(1 << (row & 7))
        self._gone.add(point_id)
        return True

    def _append(self, point_id: str, vector: Vectors, metadata: bytes) -> None:
        row = len(self._ids)
        if row == len(self._vectors):
            self._grow()
        self._vectors[row] = vector
        self._alive[row] = True
        self._ids.append(point_id)
        self._metadata.append(metadata or NO_METADATA)
        self._rows[point_id] = row

    def _grow(self) -> None:
        """Twice the room, in new buffers: views keep the old ones."""
        count = len(self._ids)
        vectors = np.empty((2 * count, self._dimension), dtype=np.float32)
        vectors[:count] = self._vectors[:count]
        alive = np.zeros(2 * count, dtype=bool)
        alive[:count] = self._alive[:count]
        self._vectors, self._alive = vectors, alive

    def _clean(self) -> None:
        """Leave dead rows behind, in new buffers."""
        written, _ = self.difference()
        count = len(written.ids)
        capacity = max(_FIRST_CAPACITY, 2 * count)
        self._vectors = np.empty((capacity, self._dimension), dtype=np.float32)
        self._vectors[:count] = written.vectors
        self._alive = np.zeros(capacity, dtype=bool)
        self._alive[:count] = True
        self._ids, self._metadata = list(written.ids), list(written.metadata)
        self._rows = {point_id: row for row, point_id in enumerate(self._ids)}
        self._sealed = None
        self._moves += 1


def seal(prefix: Prefix) -> Searcher:
    """An index over rows of the overlay, dead ones too: a search asks for those that are alive."""
    kind = choose(default_tuning, len(prefix.vectors))
    return Searcher(kind, kind.build(np.ascontiguousarray(prefix.vectors)))
