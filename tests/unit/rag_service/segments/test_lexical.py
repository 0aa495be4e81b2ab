"""The lexical leg: only documents that share something with the question."""

from __future__ import annotations

import pytest

from rag_service.segments.documents import Document, Documents
from rag_service.segments.lexical import LexicalIndex, words

DOCUMENTS = Documents(
    (
        Document("open", "open()", "Open a file and return a file object. read_text reads it."),
        Document("gather", "asyncio.gather", "Run awaitable objects concurrently."),
        Document("empty", "", ""),
    ),
    "stamp",
)


@pytest.fixture(scope="module")
def index():
    return LexicalIndex(DOCUMENTS)


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
    """`read_text` answers for `text`."""
    assert [hit.id for hit in index.search("text", 3)] == ["open"]
    assert words("pathlib.Path.read_text") == ["pathlib", "path", "read_text", "read", "text"]
