"""A corpus update in the middle: swapped whole, or not at all."""

from __future__ import annotations

import asyncio
import gc
import logging
import shutil
import threading

import numpy as np
import pytest
from opentelemetry.trace import NoOpTracer

from rag_service.corpus import CorpusError, Document, Manifest, stamp_of
from rag_service.corpus.index import write_documents, write_manifest
from rag_service.errors import CircuitOpen
from rag_service.segments import retrieval
from rag_service.segments.documents import Scored
from rag_service.segments.live_corpus import Corpus, CorpusWatch, LiveCorpus
from rag_service.segments.retrieval import Retriever

OLD = (Document("a", "os.rename", "Rename a file."), Document("b", "os.remove", "Remove a file."))
NEW = (Document("a", "os.rename", "Rename a file or a folder."), Document("c", "os.walk", "Walk a tree."))


def write(folder, documents, stamp=None):
    """An index folder as ingest leaves it: replaced, not changed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write_documents(folder, documents)
    stamp = stamp or stamp_of(documents, "model")
    write_manifest(folder, Manifest(stamp, "model", 384, 48, len(documents), "test", "sources"))


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "index", OLD)
    return tmp_path / "index"


@pytest.fixture
def live(folder):
    return LiveCorpus(Corpus.load(folder))


@pytest.fixture
def watch(live, folder):
    return CorpusWatch(live, folder, every_s=2.0)


def test_loading_gives_documents_words_and_stamp_of_one_index(folder):
    """The three always belong together."""
    corpus = Corpus.load(folder)
    assert corpus.stamp == stamp_of(OLD, "model")
    assert [hit.id for hit in corpus.lexical.search("remove", 3)] == ["b"]
    assert corpus.documents["b"] == OLD[1]


@pytest.mark.parametrize("damage", ["no folder", "no manifest", "torn manifest", "torn documents", "stamp"])
def test_an_index_that_does_not_fit_is_refused(folder, damage):
    """The service does not start on half an index, and the sentence says how to build a whole one."""
    match damage:
        case "no folder":
            shutil.rmtree(folder)
        case "no manifest":
            (folder / "manifest.json").unlink()
        case "torn manifest":
            (folder / "manifest.json").write_text("{")
        case "torn documents":
            (folder / "documents.parquet").write_bytes(b"PAR1")
        case "stamp":
            write(folder, OLD, stamp="0" * 64)
    with pytest.raises(CorpusError, match=r"python -m rag_service\.ingest --out"):
        Corpus.load(folder)


def test_nothing_new_changes_nothing(run, live, watch, folder):
    """Looking, and writing the same documents again, leaves the very same object in place."""
    before = live.current
    assert run(watch.look()) is False
    write(folder, OLD)
    assert run(watch.look()) is False
    assert live.current is before
    assert live.problem is None


def test_a_new_index_takes_the_old_ones_place_whole(run, live, watch, folder, caplog):
    """Documents, BM25 and stamp change in one step."""
    write(folder, NEW)
    with caplog.at_level(logging.WARNING):
        assert run(watch.look()) is True
    assert live.current.stamp == live.current.documents.stamp == stamp_of(NEW, "model")
    assert [hit.id for hit in live.current.lexical.search("walk", 3)] == ["c"]
    assert live.current.lexical.search("remove", 3) == ()
    assert "the corpus was replaced: 2 documents" in caplog.text


def test_a_broken_new_index_is_reported_once_and_the_old_one_stays(run, live, watch, folder, caplog):
    """Old answers are better than none; the repair needs no restart."""
    before = live.current
    write(folder, NEW, stamp="f" * 64)
    for _ in range(3):
        assert run(watch.look()) is False
    assert live.current is before
    assert "do not fit the stamp" in live.problem
    assert caplog.text.count("the old corpus stays") == 1
    write(folder, NEW)
    assert run(watch.look()) is True
    assert live.problem is None


def test_the_moment_between_two_renames_is_no_problem(run, live, watch, folder, caplog):
    """Ingest moves the old folder away before it moves the new one in."""
    shutil.move(folder, folder.with_name("old"))

    async def rename_during_the_look():
        looking = asyncio.create_task(watch.look())
        await asyncio.sleep(0.1)
        write(folder, NEW)
        return await looking

    assert run(rename_during_the_look()) is True
    assert live.problem is None
    assert "stays" not in caplog.text


def test_the_watch_looks_again_and_again(run, live, watch, folder):
    """An update needs no restart, and a folder that vanishes does not end the watch."""

    async def replace_later():
        watching = asyncio.create_task(watch.run())
        await asyncio.sleep(3.0)
        shutil.rmtree(folder)
        while live.problem is None:  # virtual time runs on while the thread looks
            await asyncio.sleep(0.1)
        problem = live.problem
        write(folder, NEW)
        while "c" not in live.current.documents:
            await asyncio.sleep(0.1)
        watching.cancel()
        return problem

    problem = run(replace_later())
    assert "does not exist" in problem
    assert live.problem is None


class SwappingSearch:
    """A vector leg during whose search the corpus is replaced."""

    def __init__(self, live, new):
        self.live, self.new, self.stamps = live, new, []

    async def search(self, _vector, _k, stamp):
        self.stamps.append(stamp)
        self.live.current = self.new
        await asyncio.sleep(0.05)
        return (Scored("a", 0.9), Scored("b", 0.8), Scored("gone", 0.7))


def test_a_question_ends_on_the_corpus_it_began_with(run, live):
    """Ids, texts and the stamp that the DB is held to are all of one corpus, however often it is swapped."""
    old, new = live.current, Corpus.of(type(live.current.documents)(NEW, "new"))
    search = SwappingSearch(live, new)
    retriever = Retriever(live, search, tracer=NoOpTracer())
    found = run(retriever.retrieve("remove a file", np.zeros(384, np.float32), 5, tolerant=True))
    assert search.stamps == [old.stamp] == [found.stamp]
    assert {hit.document for hit in found.hits} == set(OLD)
    later = run(retriever.retrieve("walk", None, 5, tolerant=True))
    assert [hit.document for hit in later.hits] == [NEW[1]]
    assert later.stamp == "new"


def test_in_a_large_corpus_the_lexical_leg_leaves_the_event_loop_alone(run, live, monkeypatch):
    """Both ways find the same; only the thread is another."""
    searched_in = []
    search = type(live.current.lexical).search

    def noted(self, question, k):
        searched_in.append(threading.current_thread() is threading.main_thread())
        return search(self, question, k)

    monkeypatch.setattr(type(live.current.lexical), "search", noted)
    retriever = Retriever(live, SwappingSearch(live, live.current), tracer=NoOpTracer())
    small = run(retriever.retrieve("remove a file", None, 5, tolerant=True))
    monkeypatch.setattr(retrieval, "_ON_LOOP_DOCUMENTS", 1)
    large = run(retriever.retrieve("remove a file", None, 5, tolerant=True))
    assert searched_in == [True, False]
    assert small == large
    assert small.hits


@pytest.mark.parametrize("after_steps", [1, 2, 5])
@pytest.mark.parametrize("takes_s", [0.0, 60.0])
def test_a_search_ends_with_its_question(run, live, monkeypatch, after_steps, takes_s):
    """Who hangs up, at whatever step, leaves no search behind and no traceback of it in the log."""
    reported, searches = [], []

    class Failing:
        async def search(self, _vector, _k, _stamp):
            searches.append(asyncio.current_task())
            await asyncio.sleep(takes_s) if takes_s else None
            raise CircuitOpen("vector_db", retry_after_s=5.0)

    async def for_ever(*_):
        await asyncio.Event().wait()

    async def leave():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        retriever = Retriever(live, Failing(), tracer=NoOpTracer())
        asking = asyncio.ensure_future(
            retriever.retrieve("remove a file", np.zeros(384, np.float32), 5, tolerant=True)
        )
        for _ in range(after_steps):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait((asking,))
        await asyncio.sleep(0.1)
        return [search for search in searches if not search.done()]

    monkeypatch.setattr(retrieval, "_lexical", for_ever)
    assert run(leave()) == []
    searches.clear()
    gc.collect()
    assert reported == []


def test_readiness_names_the_corpus_and_what_is_wrong_with_the_new_one(run, make_service):
    """An operator sees which corpus answers, and that an update did not take."""
    service = make_service()
    body = run(service.send("GET", "/readyz")).json()
    assert body["corpus"] == {"stamp": "stamp", "documents": 3}
    service.app.state.live_corpus.problem = "documents.parquet is torn"
    body = run(service.send("GET", "/readyz")).json()
    assert body["ready"] is True
    assert body["corpus"]["problem"] == "documents.parquet is torn"
    assert "corpus" in body["degraded"]


def test_after_an_update_the_lexical_leg_answers_until_the_vector_db_has_it(run, make_service):
    """The DB still speaks of the old stamp: its ids are refused, the answer comes and says so."""
    service = make_service()
    documents = type(service.app.state.live_corpus.current.documents)
    service.app.state.live_corpus.current = Corpus.of(documents(NEW, "new"))
    answer = run(service.ask("rename a file or a folder")).json()
    assert answer["degraded"] == [{"segment": "retrieve", "reason": "stamp_mismatch", "fallback": "lexical"}]
    assert [item["id"] for item in answer["citations"]] == ["a"]
    service.up.stamp = "new"
    assert run(service.ask("rename a file or a folder")).json()["outcome"] == "full"
