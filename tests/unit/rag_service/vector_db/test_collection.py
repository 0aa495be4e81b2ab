"""A collection is opened only when its parts fit each other."""

import json
from pathlib import Path

import faiss
import pytest

from rag_service.corpus import CorpusError
from rag_service.ingest import DIMENSION
from rag_service.vector_db.collection import open_collection


def _unit(position: int) -> list[float]:
    return [1.0 if number == position else 0.0 for number in range(DIMENSION)]


def test_the_nearest_document_comes_first(index_dir: Path) -> None:
    """Each direction finds its own document with a cosine of 1."""
    collection = open_collection(index_dir)
    found = collection.search([_unit(1), _unit(2)], k=1)
    assert [[(hit.id, hit.score) for hit in hits] for hits in found] == [[("b", 1.0)], [("c", 1.0)]]


def test_a_small_collection_gives_all_it_has(index_dir: Path) -> None:
    """Asking for more than there is brings what there is, once each."""
    assert sorted(hit.id for hit in open_collection(index_dir).search([_unit(0)], k=100)[0]) == [
        "a",
        "b",
        "c",
    ]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("garbage", "is not a FAISS index"),
        ("truncated", "is not a FAISS index"),
        ("other width", "holds vectors of 7 numbers"),
        ("fewer vectors", "holds 0 vectors for 3 documents"),
        ("other stamp", "do not fit the stamp"),
        ("no manifest", "does not exist"),
    ],
)
def test_an_index_that_cannot_be_trusted_is_refused(index_dir: Path, damage: str, said: str) -> None:
    """The message says what does not fit and how to build it anew."""
    vectors, manifest = index_dir / "index.faiss", index_dir / "manifest.json"
    match damage:
        case "garbage":
            vectors.write_bytes(b"not an index")
        case "truncated":
            vectors.write_bytes(vectors.read_bytes()[:200])
        case "other width":
            faiss.write_index(faiss.IndexFlatIP(7), str(vectors))
        case "fewer vectors":
            faiss.write_index(faiss.IndexFlatIP(DIMENSION), str(vectors))
        case "other stamp":
            manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"stamp": "0" * 64}))
        case "no manifest":
            manifest.unlink()
    with pytest.raises(CorpusError) as error:
        open_collection(index_dir)
    assert said in str(error.value)
    assert "python -m rag_service.ingest" in str(error.value)
