"""One collection: the ingest's documents, the writes since, and the view of both that readers get.

Writes come from one thread at a time: to the disk first, then into memory, then a new view is published with
one assignment. Searches take the view that is there and need no lock.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rag_service.corpus.index import Manifest
from rag_service.vector_db.base import Base, Report, open_base
from rag_service.vector_db.durable import Sync, sync_data
from rag_service.vector_db.errors import Refused
from rag_service.vector_db.kinds import Tuning
from rag_service.vector_db.limits import LOG_BYTES_PER_SNAPSHOT, MAX_WRITTEN_POINTS
from rag_service.vector_db.operations import Operation, Upsert, Vectors
from rag_service.vector_db.overlay import Overlay, Stored, seal
from rag_service.vector_db.snapshot import Snapshot
from rag_service.vector_db.store import Recovered, Store
from rag_service.vector_db.view import Hit

NAME = "corpus"


@dataclass(frozen=True, slots=True)
class Query:
    """One caller's search: some vectors, and how many neighbours of each."""

    vectors: Vectors
    k: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, and in which version of the collection."""

    stamp: str
    version: int
    results: list[list[Hit]]


@dataclass(frozen=True, slots=True)
class Written:
    """An acknowledged write: the version it made, and how many points it put in or took out."""

    version: int
    points: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A snapshot on the disk."""

    version: int
    path: Path


def _full() -> Refused:
    """A refusal of its own for each: one that is raised again keeps every frame that it went through."""
    message = f"{MAX_WRITTEN_POINTS} points at most may differ from the ingest; ingest the corpus anew"
    return Refused(507, "collection_full", message)


class Collection:
    """Points by inner product. `commit` and `begin_snapshot` belong to one thread; the rest to any."""

    def __init__(self, base: Base, store: Store | None = None) -> None:
        self._base = base
        self._store = store
        self._overlay = Overlay(base, base.manifest.dimension)
        self._changing = threading.Lock()
        self.torn_bytes = 0
        recovered = store.open() if store is not None else None
        try:
            version = self._redo(recovered) if recovered is not None else 0
            self._view = self._overlay.view(version)
            self.seal_if_large()
        except BaseException:
            self.close()
            raise

    @property
    def manifest(self) -> Manifest:
        return self._base.manifest

    @property
    def version(self) -> int:
        return self._view.version

    @property
    def index(self) -> dict[str, object]:
        """What searches the ingest's documents, for people."""
        searcher = self._base.searcher
        return {"kind": searcher.kind.name, "device": searcher.device, **searcher.kind.parameters}

    @property
    def log_is_long(self) -> bool:
        return self._store is not None and self._store.log_bytes > LOG_BYTES_PER_SNAPSHOT

    @property
    def wants_seal(self) -> bool:
        return self._overlay.wants_seal()

    def __len__(self) -> int:
        return len(self._view)

    def search(self, vectors: Sequence[Sequence[float]] | Vectors, k: int) -> list[list[Hit]]:
        """The `k` nearest points of each vector, best first; fewer where the collection is smaller."""
        return self._view.search(np.asarray(vectors, dtype=np.float32), k)

    def search_together(self, queries: Sequence[Query]) -> list[Found]:
        """Several callers' searches as one, all in the same version."""
        view = self._view
        vectors = queries[0].vectors if len(queries) == 1 else np.concatenate([q.vectors for q in queries])
        hits = view.search(vectors, max(query.k for query in queries))
        found, at = [], 0
        for query in queries:
            end = at + len(query.vectors)
            results = [line[: query.k] for line in hits[at:end]]
            found.append(Found(self.manifest.stamp, view.version, results))
            at = end
        return found

    def point(self, point_id: str) -> Stored | None:
        """One point as it is now."""
        with self._changing:
            return self._overlay.point(point_id)

    def commit(self, operations: Sequence[Operation]) -> list[Written | Refused]:
        """Make writes durable together, then visible together. Raises Refused, and then none was made.

        A write for which there is no room is answered with Refused; the others are made.
        """
        if self._store is None:
            raise Refused(409, "read_only", "this database was opened without a folder for writes")
        accepted: list[Operation] = []
        answers: list[Written | Refused] = []
        points = 0
        for operation in operations:
            more = len(operation.ids) if isinstance(operation, Upsert) else 0
            if more and self._overlay.full_after(points + more):
                answers.append(_full())
                continue
            points += more
            accepted.append(operation)
            answers.append(Written(0, 0))
        if not accepted:
            return answers
        version = self._view.version
        self._store.append(accepted, version)
        with self._changing:
            made = iter(
                [
                    Written(version + number, self._overlay.apply(operation))
                    for number, operation in enumerate(accepted, start=1)
                ]
            )
            self._view = self._overlay.view(version + len(accepted))
        return [answer if isinstance(answer, Refused) else next(made) for answer in answers]

    def begin_snapshot(self) -> Snapshot:
        """The collection as it is, with a new log begun for the writes after it."""
        if self._store is None:
            raise Refused(409, "read_only", "this database was opened without a folder for writes")
        version = self._view.version
        self._store.roll(version)
        written, gone = self._overlay.difference()
        return Snapshot(self.manifest.stamp, version, written, gone)

    def finish_snapshot(self, snapshot: Snapshot) -> Kept:
        """Put it on the disk; writes may go on meanwhile."""
        assert self._store is not None
        try:
            return Kept(snapshot.version, self._store.keep(snapshot))
        except OSError as error:
            raise Refused(
                507, "disk_refuses", f"the snapshot cannot be written ({error.strerror}); make room"
            ) from None

    def snapshot(self) -> Kept:
        """Both halves at once."""
        return self.finish_snapshot(self.begin_snapshot())

    def seal_if_large(self) -> None:
        """Give the points written since the ingest an index of their own when there are many."""
        with self._changing:
            prefix = self._overlay.prefix() if self._overlay.wants_seal() else None
        if prefix is not None:
            sealed = seal(prefix)
            with self._changing:
                self._overlay.attach(sealed, prefix)
                self._view = self._overlay.view(self._view.version)

    def close(self) -> None:
        """Give up the right to write; views that are in use stay whole."""
        if self._store is not None:
            self._store.close()

    def _redo(self, recovered: Recovered) -> int:
        if recovered.snapshot is not None:
            self._overlay.restore(recovered.snapshot.written, recovered.snapshot.gone)
        for operation in recovered.operations:
            self._overlay.apply(operation)
        self.torn_bytes = recovered.torn_bytes
        return recovered.version


def open_collection(
    index_dir: Path,
    *,
    state_dir: Path | None = None,
    tuning: Tuning | None = None,
    sync: Sync = sync_data,
    report: Report = lambda _: None,
) -> Collection:
    """The collection in an index folder, with its writes. Raises CorpusError for one that cannot be trusted.

    Without `state_dir` it cannot be written. Writes to other corpora in `state_dir` are left where they are.
    """
    wanted = tuning or Tuning()
    base = open_base(
        index_dir, wanted, built_dir=None if state_dir is None else state_dir / "built", report=report
    )
    if state_dir is None:
        return Collection(base)
    stamp = base.manifest.stamp
    store = Store(state_dir / stamp[:16], stamp, base.manifest.dimension, sync)
    collection = Collection(base, store)
    if collection.torn_bytes:
        report(f"cut {collection.torn_bytes} bytes of a write that was never acknowledged")
    others = sorted(item.name for item in state_dir.glob("*/log-*") if item.parent.name != stamp[:16])
    if others:
        report(f"{state_dir} also holds writes to other corpora; they belong to those and are not applied")
    return collection
