"""The golden questions fit the corpus of the running Python. How well they are answered: `make recall`."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.recall import Golden, load_golden
from journeys.questions import load_questions
from rag_service.corpus.stdlib import stdlib_documents

PATH = Path(__file__).parents[2] / "journeys" / "golden_questions.jsonl"


def _golden() -> tuple[Golden, ...]:
    return load_golden(PATH)


def test_every_relevant_document_exists() -> None:
    """A question that points at nothing would lower recall for no fault of the service.

    The ids are those of Python 3.11; another Python has dropped a few modules and cut some texts elsewhere.
    """
    known = {document.id for document in stdlib_documents()}
    if sys.version_info[:2] == (3, 11):
        assert {document_id for golden in _golden() for document_id in golden.relevant} - known == set()
    answered = [golden for golden in _golden() if known & set(golden.relevant)]
    assert len(answered) >= 0.95 * len(_golden())


def test_questions_are_many_and_unique() -> None:
    """A question asked twice would count twice, and so would a document named twice hide a smaller list."""
    questions = [golden.question.casefold() for golden in _golden()]
    assert len(questions) == len(set(questions)) >= 200
    assert all(golden.relevant for golden in _golden())
    assert all(len(set(golden.relevant)) == len(golden.relevant) for golden in _golden())


def test_the_journeys_read_the_same_questions() -> None:
    """Recall in an experiment and recall in `make recall` must mean the same."""
    asked = [(question.text, question.relevant) for question in load_questions(PATH)]
    assert asked == [(golden.question, golden.relevant) for golden in _golden()]
