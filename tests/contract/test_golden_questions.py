"""The golden questions fit the corpus of the running Python, and retrieval can answer them."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from rag_service.corpus.stdlib import stdlib_documents

PATH = Path(__file__).parents[2] / "journeys" / "golden_questions.jsonl"


@dataclass(frozen=True, slots=True)
class Golden:
    """A question and the documents that answer it."""

    question: str
    relevant: tuple[str, ...]


def _golden() -> list[Golden]:
    lines = [json.loads(line) for line in PATH.read_text("utf-8").splitlines()]
    return [Golden(line["question"], tuple(line["relevant"])) for line in lines]


def test_every_relevant_document_exists() -> None:
    """A question that points at nothing would lower recall for no fault of the service."""
    known = {document.id for document in stdlib_documents()}
    assert {public_id for golden in _golden() for public_id in golden.relevant} - known == set()


def test_questions_are_many_and_unique() -> None:
    """A question asked twice would count twice."""
    questions = [golden.question for golden in _golden()]
    assert len(questions) == len(set(questions)) >= 60
    assert all(golden.relevant for golden in _golden())


@pytest.mark.slow
def test_both_legs_find_what_was_asked_for(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Recall at 5, the share of questions with a right document among the first five, on the real index."""
    from rag_service.ingest import load_sentence_transformer
    from rag_service.segments.documents import Documents, Scored
    from rag_service.segments.lexical import LexicalIndex
    from rag_service.segments.retrieval import fuse
    from rag_service.vector_db.collection import open_collection

    index = _index(tmp_path)
    golden = _golden()
    vectors = load_sentence_transformer()([item.question for item in golden])
    found = open_collection(index).search(vectors.tolist(), k=20)
    lexical = LexicalIndex(Documents.load(index))
    legs = {
        "vector": [tuple(Scored(hit.id, hit.score) for hit in hits) for hits in found],
        "lexical": [lexical.search(item.question, 20) for item in golden],
    }
    pairs = zip(legs["vector"], legs["lexical"], strict=True)
    legs["fused"] = [fuse({"vector": vector, "lexical": words}, 5) for vector, words in pairs]
    recall = {
        name: sum(
            any(hit.id.partition("/")[0] in item.relevant for hit in hits[:5])
            for item, hits in zip(golden, answers, strict=True)
        )
        / len(golden)
        for name, answers in legs.items()
    }
    with capsys.disabled():
        print("\nrecall@5 over", len(golden), "golden questions:", recall)
    assert recall["vector"] >= 0.8
    assert recall["lexical"] >= 0.5
    assert recall["fused"] >= 0.8


def _index(tmp_path: Path) -> Path:
    """The checkout's own index; ingest leaves it alone when it fits and builds it when it does not."""
    from rag_service.corpus import CorpusSource
    from rag_service.ingest import ingest

    out = Path(".ragquake/index") if Path(".ragquake").is_dir() else tmp_path / "index"
    ingest(CorpusSource(), out, print)
    return out
