"""The collection against a dictionary and numpy, through writes, snapshots, restarts and power cuts."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from rag_service.corpus.document import CorpusError, Document, stamp_of
from rag_service.corpus.index import Manifest, write_documents, write_manifest
from rag_service.vector_db import overlay
from rag_service.vector_db.collection import Collection, Query, open_collection
from rag_service.vector_db.kinds import Tuning
from rag_service.vector_db.log import HEADER_BYTES
from rag_service.vector_db.operations import Delete, Operation, Upsert
from rag_service.vector_db.store import Store

DIMENSION = 8
NAMES = [f"p{number}" for number in range(10)]
IDS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)
SEEDS = st.integers(0, 2**32 - 1)
Vectors = npt.NDArray[np.float32]


def _directions(seed: int, count: int) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _ingested(folder: Path) -> dict[str, tuple[Vectors, dict[str, object]]]:
    """An index folder of six documents, and what a model knows of them."""
    documents = [Document(name, name.upper(), "text") for name in NAMES[:6]]
    vectors = _directions(1, len(documents))
    folder.mkdir()
    write_documents(folder, documents)
    index = faiss.IndexFlatIP(DIMENSION)
    index.add(vectors)
    faiss.write_index(index, str(folder / "index.faiss"))
    stamp = stamp_of(documents, "model")
    write_manifest(folder, Manifest(stamp, "model", DIMENSION, 48, len(documents), "test", "none"))
    return {item.id: (vector, {"title": item.title}) for item, vector in zip(documents, vectors, strict=True)}


class CollectionMachine(RuleBasedStateMachine):
    """Every rule does the same to a collection and to a dictionary."""

    tuning = Tuning()

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ragquake-test-"))
        self.survives = self.folder / "after-a-power-cut"
        self.version = 0

    @initialize()
    def ingest(self) -> None:
        self.points = _ingested(self.folder / "index")
        self.collection = self._open()

    def _open(self) -> Collection:
        return open_collection(
            self.folder / "index", state_dir=self.folder / "state", tuning=self.tuning, sync=self._sync
        )

    def _sync(self, _: int) -> None:
        """What is on the disk at the last sync of the log is what a power cut leaves of it."""
        for log in (self.folder / "state").glob("*/log-*"):
            self.survives.mkdir(exist_ok=True)
            shutil.copy(log, self.survives / log.name)

    def _commit(self, *operations: Operation) -> None:
        written = self.collection.commit(operations)
        for operation, acknowledged in zip(operations, written, strict=True):
            self.version += 1
            assert acknowledged.version == self.version
            if isinstance(operation, Delete):
                assert acknowledged.points == sum(point_id in self.points for point_id in operation.ids)
                for point_id in operation.ids:
                    self.points.pop(point_id, None)
            else:
                metadata = [json.loads(item) for item in operation.metadata]
                self.points |= dict(
                    zip(operation.ids, zip(operation.vectors, metadata, strict=True), strict=True)
                )

    @rule(ids=IDS, seed=SEEDS)
    def upsert(self, ids: list[str], seed: int) -> None:
        self._commit(self._upsert(ids, seed))

    @rule(ids=IDS)
    def delete(self, ids: list[str]) -> None:
        self._commit(Delete(tuple(ids)))

    @rule(ids=IDS, others=IDS, seed=SEEDS)
    def commit_a_group(self, ids: list[str], others: list[str], seed: int) -> None:
        self._commit(self._upsert(ids, seed), Delete(tuple(others)), self._upsert(others[:1], seed + 1))

    @rule()
    def snapshot(self) -> None:
        assert self.collection.snapshot().version == self.version

    @rule(ids=IDS, seed=SEEDS)
    def snapshot_while_a_write_comes(self, ids: list[str], seed: int) -> None:
        begun = self.collection.begin_snapshot()
        self._commit(self._upsert(ids, seed))
        assert self.collection.finish_snapshot(begun).version == self.version - 1

    @rule()
    def restart(self) -> None:
        self.collection.close()
        self.collection = self._open()

    @rule(torn=st.binary(max_size=15))
    def lose_power(self, torn: bytes) -> None:
        """Only what was synced is there again, and behind it part of a record that nobody was promised."""
        self.collection.close()
        for log in (self.folder / "state").glob("*/log-*"):
            kept = self.survives / log.name
            log.write_bytes((kept.read_bytes() if kept.exists() else log.read_bytes()) + torn)
        self.collection = self._open()

    @rule()
    def seal(self) -> None:
        self.collection.seal_if_large()

    @invariant()
    def version_and_size_agree(self) -> None:
        assert self.collection.version == self.version
        assert len(self.collection) == len(self.points)

    @invariant()
    def every_point_is_as_it_was_written(self) -> None:
        for name in NAMES:
            stored = self.collection.point(name)
            assert (stored is not None) == (name in self.points), name
            if stored is not None:
                vector, metadata = self.points[name]
                assert np.array_equal(stored.vector, vector)
                assert json.loads(stored.metadata) == metadata

    @rule(seed=SEEDS, k=st.integers(1, 12))
    def search(self, seed: int, k: int) -> None:
        queries = _directions(seed, 2)
        (found,) = self.collection.search_together([Query(queries, k)])
        assert found.version == self.version
        assert found.results == self.collection.search(queries.tolist(), k)
        for query, hits in zip(queries, found.results, strict=True):
            cosines = {name: float(vector @ query) for name, (vector, _) in self.points.items()}
            assert len({hit.id for hit in hits}) == len(hits)
            assert np.allclose([hit.score for hit in hits], [cosines[hit.id] for hit in hits], atol=1e-5)
            best = sorted(cosines.values(), reverse=True)[:k]  # which of two equals comes first is open
            assert np.allclose([hit.score for hit in hits], best, atol=1e-5)

    def teardown(self) -> None:
        if hasattr(self, "collection"):
            self.collection.close()
        shutil.rmtree(self.folder)

    @staticmethod
    def _upsert(ids: list[str], seed: int) -> Upsert:
        metadata = tuple(json.dumps({"seed": seed, "n": number}).encode() for number in range(len(ids)))
        return Upsert(tuple(ids), _directions(seed, len(ids)), metadata)


class SealedMachine(CollectionMachine):
    """The same with an index over the writes after a handful of them, and dead rows left behind early.

    One cell, so that the approximate index is exact and can be held to the model.
    """

    tuning = Tuning(kind="ivf", nlist=1)

    def __init__(self) -> None:
        super().__init__()
        self._before = overlay.SEAL_FROM, overlay.CLEAN_FROM, overlay.default_tuning
        overlay.SEAL_FROM, overlay.CLEAN_FROM, overlay.default_tuning = 4, 12, self.tuning

    def teardown(self) -> None:
        super().teardown()
        overlay.SEAL_FROM, overlay.CLEAN_FROM, overlay.default_tuning = self._before


TestCollection = CollectionMachine.TestCase
TestCollection.settings = settings(max_examples=30, stateful_step_count=20)
TestSealedCollection = SealedMachine.TestCase
TestSealedCollection.settings = TestCollection.settings


@pytest.mark.parametrize("forgotten", ["append", "keep"])
def test_the_machine_notices_writes_that_are_not_kept(
    forgotten: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: without the log, or with snapshots that are not written, a restart shows it."""

    def forgets(store: Store, *_: object) -> Path:
        for log in store.folder.glob("log-*") if forgotten == "keep" else ():
            log.write_bytes(log.read_bytes()[:HEADER_BYTES])
        return store.folder

    monkeypatch.setattr(Store, forgotten, forgets)
    few = settings(
        max_examples=60,
        stateful_step_count=15,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    with pytest.raises((AssertionError, CorpusError)):
        run_state_machine_as_test(CollectionMachine, settings=few)
