"""The answer without a model: sentences from the passages, with their sources."""

from __future__ import annotations

from rag_service.segments.context import Passage
from rag_service.segments.extractive import extract


def passage(document_id, text):
    return Passage(document_id, document_id, 1.0, text, len(text.split()))


def test_quotes_the_sentence_that_shares_most_with_the_question():
    """It names the passage by its number and admits what is missing."""
    answer = extract(
        "How do I rename a file?",
        (
            passage("a", "Sockets send bytes. Sockets can be closed."),
            passage("b", "Path.rename gives a file a new name. To rename a file, call rename."),
        ),
    )
    assert answer.startswith("The language model is not available.")
    assert "To rename a file, call rename. [2]" in answer


def test_quotes_at_most_three_sentences():
    """A short answer, however long the passages."""
    answer = extract("file", (passage("a", "One file. Two file. Three file. Four file. Five file."),))
    assert answer.count("[1]") == 3
