"""The collection under many callers: searches together, one version each, upkeep beside the requests."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rag_service.ingest import DIMENSION
from rag_service.vector_db import collection as collection_module
from rag_service.vector_db import overlay, view
from rag_service.vector_db.collection import Collection, Found, Query, open_collection
from rag_service.vector_db.database import Database
from rag_service.vector_db.errors import Refused
from rag_service.vector_db.limits import MAX_VECTORS
from rag_service.vector_db.operations import Delete, Upsert, Vectors


def _direction(*numbers: float) -> Vectors:
    vector = np.zeros((1, DIMENSION), dtype=np.float32)
    vector[0, : len(numbers)] = numbers
    return vector


def _upsert(point_id: str, vector: Vectors) -> Upsert:
    return Upsert((point_id,), vector, (b"{}",))


@pytest.fixture
def database(index_dir: Path) -> Iterator[Database]:
    def open_it() -> Collection:
        return open_collection(index_dir, state_dir=index_dir.with_name("state"))

    opened = Database(open_it(), index_dir=index_dir, reopen=open_it)
    yield opened
    opened.close()


def test_searches_of_many_callers_are_answered_each_with_its_own(database: Database) -> None:
    """Whatever was put into one FAISS call, everyone gets as many as asked for, of what was asked for."""

    async def scenario() -> None:
        queries = [Query(np.eye(DIMENSION, dtype=np.float32)[n % 3][None], 1 + n % 3) for n in range(40)]
        found = await asyncio.gather(*(database.search(query) for query in queries))
        for number, answer in enumerate(found):
            (hits,) = answer.results
            assert hits[0].id == "abc"[number % 3]
            assert len(hits) == 1 + number % 3

    asyncio.run(scenario())


def test_searches_together_are_bounded_by_their_vectors(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers of 64 vectors each do not become one search of thousands."""
    sizes: list[int] = []
    search = database.collection.search_together

    def remember(queries: Sequence[Query]) -> list[Found]:
        sizes.append(sum(len(query.vectors) for query in queries))
        return search(queries)

    monkeypatch.setattr(database.collection, "search_together", remember)
    counts = [64, 1, 40, 30, 64, 2, 3] * 5

    async def scenario() -> None:
        vectors = np.eye(DIMENSION, dtype=np.float32)
        found = await asyncio.gather(*(database.search(Query(vectors[:count], 1)) for count in counts))
        assert [len(answer.results) for answer in found] == counts

    asyncio.run(scenario())
    assert max(sizes) == MAX_VECTORS
    assert sum(sizes) == sum(counts)
    assert len(sizes) < len(counts), "the control: some went together"


@pytest.mark.parametrize("k", [1, 5, 100])
def test_a_scan_in_pieces_finds_what_a_scan_at_once_finds(
    index_dir: Path, monkeypatch: pytest.MonkeyPatch, k: int
) -> None:
    """Points in the last piece count like those in the first, dead ones nowhere."""
    collection = open_collection(index_dir, state_dir=index_dir.with_name("state"), sync=lambda _: None)
    vectors = np.random.default_rng(2).normal(size=(61, DIMENSION)).astype(np.float32)
    ids = tuple(f"p{number}" for number in range(len(vectors)))
    collection.commit([Upsert(ids, vectors, (b"{}",) * len(ids)), Delete(ids[::3])])
    at_once = collection.search(vectors[:9], k)
    widths: list[int] = []
    compared = view._compared

    def remember(queries: Vectors, rows: Vectors, *rest: Any) -> Any:
        widths.append(len(rows))
        return compared(queries, rows, *rest)

    monkeypatch.setattr(view, "_compared", remember)
    monkeypatch.setattr(view, "_PIECE", 7)
    for hits, expected in zip(collection.search(vectors[:9], k), at_once, strict=True):
        assert [hit.id for hit in hits] == [hit.id for hit in expected]
        assert np.allclose([hit.score for hit in hits], [hit.score for hit in expected], atol=1e-5)
    assert widths == [7] * 8 + [5]
    collection.close()


def test_writes_that_arrive_together_get_versions_of_their_own(database: Database) -> None:
    """Group commit shares the sync, not the version."""

    async def scenario() -> None:
        made = await asyncio.gather(
            *(database.write(_upsert(f"p{number}", _direction(1, number))) for number in range(30))
        )
        assert sorted(written.version for written in made) == list(range(1, 31))
        assert len(database.collection) == 33

    asyncio.run(scenario())


def test_a_reader_never_sees_half_of_a_write(index_dir: Path) -> None:
    """Each write moves two points at once; in every answer both stand where its version put them."""
    collection = open_collection(index_dir, state_dir=index_dir.with_name("state"), sync=lambda _: None)
    angles = np.random.default_rng(1).uniform(0.1, 1.4, 20_000)
    done = threading.Event()
    torn: list[tuple[int, float, float]] = []
    seen: set[int] = set()

    def read() -> None:
        query = Query(_direction(0, 0, 0, 1), 5)
        while not done.is_set():
            (found,) = collection.search_together([query])
            seen.add(found.version)
            if found.version:
                scores = {hit.id: hit.score for hit in found.results[0]}
                expected = np.sin(angles[found.version - 1])
                if not np.allclose([scores["x"], scores["y"]], expected, atol=1e-5):
                    torn.append((found.version, scores["x"], scores["y"]))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for angle in angles:
        if len(seen) > 20:
            break
        vector = _direction(0, 0, 0, np.sin(angle), np.cos(angle))
        collection.commit([Upsert(("x", "y"), np.concatenate([vector, vector]), (b"{}", b"{}"))])
    done.set()
    for reader in readers:
        reader.join()
    collection.close()
    assert torn == []
    assert len(seen) > 20, "the control: reads and writes did overlap"


def test_a_long_log_is_cut_by_a_snapshot_without_being_asked(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log stays bounded although nobody calls snapshot."""
    monkeypatch.setattr(collection_module, "LOG_BYTES_PER_SNAPSHOT", 5000)

    async def scenario() -> None:
        for number in range(8):
            await database.write(_upsert("p", _direction(1, number)))
        while database._tidying is not None:
            await database._tidying

    asyncio.run(scenario())
    (snapshot,) = database.collection._store.folder.glob("snapshot-*")  # type: ignore[union-attr]
    assert int(snapshot.name[-20:]) >= 3
    assert not database.collection.log_is_long


def test_upkeep_that_fails_is_tried_again_later(
    database: Database, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever it raises: the writes go on, and it is not tried again with each of them."""
    monkeypatch.setattr(collection_module, "LOG_BYTES_PER_SNAPSHOT", 1)
    tried: list[str] = []
    waited: list[float] = []

    def fails() -> None:
        tried.append("snapshot")
        raise ZeroDivisionError("of all things")

    async def scenario() -> None:
        over = asyncio.Event()

        async def pause(duration_s: float) -> None:
            waited.append(duration_s)
            await over.wait()

        monkeypatch.setattr(asyncio, "sleep", pause)
        monkeypatch.setattr(database.collection, "begin_snapshot", fails)
        for number in range(4):
            await database.write(_upsert("p", _direction(1, number)))
        over.set()
        assert database._tidying is not None
        await database._tidying
        assert (len(tried), waited) == (1, [10.0])
        await database.write(_upsert("p", _direction(1)))
        assert database._tidying is not None
        await database._tidying

    asyncio.run(scenario())
    assert len(tried) == 2
    assert capfd.readouterr().err.count("of all things") == 2


def test_a_snapshot_that_the_disk_does_not_take_is_refused_with_what_to_do(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No folder for the new log, no crash: writes go on in the old one."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async def scenario() -> None:
        await database.write(_upsert("p", _direction(1)))
        with monkeypatch.context() as patch:
            patch.setattr("rag_service.vector_db.durable.sync_data", full)
            with pytest.raises(Refused, match=r"No space left on device.*make room") as refused:
                await database.snapshot()
        assert (refused.value.status, refused.value.code) == (507, "disk_refuses")
        assert (await database.write(_upsert("p", _direction(1)))).version == 2

    asyncio.run(scenario())


def test_many_writes_get_an_index_of_their_own_without_being_asked(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And they are found as before."""
    monkeypatch.setattr(overlay, "SEAL_FROM", 20)

    async def scenario() -> None:
        for number in range(25):
            await database.write(_upsert(f"p{number}", _direction(0, 0, 0, 1, number)))
        while database._tidying is not None:
            await database._tidying
        found = await database.search(Query(_direction(0, 0, 0, 1), 1))
        assert found.results[0][0].id == "p0"

    asyncio.run(scenario())
    assert not database.collection.wants_seal
    assert database.collection._view.tail.sealed is not None  # type: ignore[union-attr]


def test_a_corpus_that_is_changed_back_during_a_reload_can_still_be_written(
    index_dir: Path, make_index: Callable[[Path, str], Path]
) -> None:
    """The successor has the stamp of the collection that is served, but the right to write stays there."""
    first = index_dir.with_name("first")

    def open_it() -> Collection:
        return open_collection(index_dir, state_dir=index_dir.with_name("state"))

    def change_back_and_open() -> Collection:
        index_dir.rename(index_dir.with_name("second"))
        first.rename(index_dir)
        return open_it()

    database = Database(open_it(), index_dir=index_dir, reopen=change_back_and_open)

    async def scenario() -> None:
        await database.write(Delete(("a",)))
        index_dir.rename(first)
        make_index(index_dir, "bc")
        reloaded = await database.reload()
        assert reloaded.version == 1
        assert (await database.write(Delete(("b",)))).version == 2

    asyncio.run(scenario())
    database.close()


def test_too_many_written_points_are_refused_and_other_writes_of_the_group_are_made(
    index_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal says what to do; it is nobody else's."""
    monkeypatch.setattr(overlay, "MAX_WRITTEN_POINTS", 1)
    collection = open_collection(index_dir, state_dir=index_dir.with_name("state"))
    small, large, delete = collection.commit(
        [_upsert("x", _direction(1)), _upsert("y", _direction(1)), Delete(("a",))]
    )
    assert (small, delete) == (collection_module.Written(1, 1), collection_module.Written(2, 1))
    assert isinstance(large, Refused)
    assert (large.status, large.code) == (507, "collection_full")
    assert "ingest" in str(large)
    assert collection.point("y") is None
    collection.close()


def test_a_refused_write_is_not_kept_alive_by_its_refusal(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal that all share would hold the frames, and so the bodies, of every request it ended."""
    monkeypatch.setattr(overlay, "MAX_WRITTEN_POINTS", 0)
    refused: list[weakref.ref[Vectors]] = []

    async def write() -> None:
        vector = _direction(1)
        refused.append(weakref.ref(vector))
        with pytest.raises(Refused, match="ingest the corpus anew"):
            await database.write(_upsert("x", vector))

    async def scenario() -> None:
        for _ in range(3):
            await write()

    asyncio.run(scenario())
    database.close()  # a thread lets go of its last job a moment after its result is there
    gc.collect()
    assert [vector() is None for vector in refused] == [True] * 3


def test_without_a_state_folder_nothing_can_be_written(index_dir: Path) -> None:
    """Opened for reading, as the golden questions do."""
    collection = open_collection(index_dir)
    with pytest.raises(Refused, match="without a folder"):
        collection.commit([Delete(("a",))])
    with pytest.raises(Refused, match="without a folder"):
        collection.snapshot()
    assert list(index_dir.parent.glob("*state*")) == []


def test_a_query_that_was_checked_against_the_corpus_before_is_told_so(database: Database) -> None:
    """A reload to another dimension between check and search is a 409, not a crash of everybody's batch."""

    async def scenario() -> None:
        narrow, right = await asyncio.gather(
            database.search(Query(np.ones((1, 3), dtype=np.float32), 1)),
            database.search(Query(_direction(1), 1)),
            return_exceptions=True,
        )
        assert isinstance(narrow, Refused) and narrow.code == "corpus_changed"
        assert not isinstance(right, BaseException)

    asyncio.run(scenario())
