"""The lexical leg: only documents that share something with the question."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_service.segments.documents import Document, Documents
from rag_service.segments.lexical import LexicalIndex, Words

DOCUMENTS = Documents(
    (
        Document("open", "open()", "Open a file and return a file object. read_text reads it."),
        Document("gather", "asyncio.gather", "Run awaitable objects concurrently."),
        Document("empty", "", ""),
    ),
    "stamp",
)


INDEX = LexicalIndex(DOCUMENTS)


@pytest.fixture
def index():
    return INDEX


def test_finds_documents_by_their_words(index):
    """The document that shares words comes, with a positive score."""
    (hit,) = index.search("how to run things concurrently", 3)
    assert hit.id == "gather"
    assert hit.score > 0.0


@pytest.mark.parametrize("question", ["zebra quux", "the of and", "", "???", "🦓"])
def test_a_question_without_known_words_finds_nothing(index, question):
    """bm25s itself returns documents with score 0 here; they are noise."""
    assert index.search(question, 3) == ()


def test_k_above_the_corpus_size_is_no_error(index):
    """bm25s raises; a small corpus simply has fewer documents."""
    assert len(index.search("file objects", 100)) == 2


def test_identifiers_are_found_by_their_parts(index):
    """`read_text` answers for `text`, `ThreadPoolExecutor` for `thread pool`."""
    assert [hit.id for hit in index.search("text", 3)] == ["open"]
    assert Words().of("pathlib.Path.read_text") == ["pathlib", "path", "read_text", "read", "text"]
    assert Words().of("ThreadPoolExecutor HTTPServer") == [
        *["threadpoolexecutor", "thread", "pool", "executor"],
        *["httpserver", "http", "server"],
    ]


def test_a_word_is_found_in_any_of_its_forms(index):
    """People ask how to run things "concurrently", how to "open" or about "opening" a file."""
    assert [hit.id for hit in index.search("opening files", 3)] == ["open"]
    assert [hit.id for hit in index.search("concurrent", 3)] == ["gather"]


def test_words_of_other_languages_stay_whole():
    """Only ASCII identifiers are taken apart; a letter outside ASCII is no joint."""
    assert Words().of("Größe naïve Ärger") == ["größe", "naïv", "ärger"]


def test_what_a_document_is_named_counts_more_than_what_it_mentions():
    """A document about `rename` comes before one that mentions it as often."""
    about = Document("os.rename", "os.rename(src, dst)", "Give a file another place.")
    mentions = Document("os.other", "os.other(src, dst)", "Give a file another place. See rename.")
    index = LexicalIndex(Documents((mentions, about), "stamp"))
    assert [hit.id for hit in index.search("rename", 2)] == ["os.rename", "os.other"]


@given(st.text(max_size=200))
def test_any_text_can_be_asked(text):
    """Whatever people paste: no error, only positive scores, best first."""
    hits = INDEX.search(text, 3)
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert all(score > 0.0 for score in scores)
