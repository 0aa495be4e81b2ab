"""From a corpus to an index folder."""

import json
from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from rag_service.corpus import CorpusError, CorpusSource, load_documents
from rag_service.ingest import DIMENSION, Embed, ingest, main


class Embedder:
    """Stands in for the model: one direction per text, and a count of how often it was loaded."""

    def __init__(self) -> None:
        self.loaded = 0

    def load(self) -> Embed:
        self.loaded += 1
        return self._embed

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), DIMENSION), dtype=np.float32)
        for row, text in enumerate(texts):
            vectors[row, len(text) % DIMENSION] = 1.0
        return vectors


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"id": f"d{n}", "text": "x" * (40 - n)}) + "\n" for n in range(5)))
    return path


def _silent(_: str) -> None:
    pass


def test_vectors_stand_in_the_order_of_the_documents(tmp_path: Path, corpus: Path) -> None:
    """Texts are embedded by length, yet row n belongs to document n."""
    ingest(CorpusSource(corpus), tmp_path / "index", _silent, Embedder().load)
    loaded = load_documents(tmp_path / "index")
    index = faiss.read_index(str(tmp_path / "index" / "index.faiss"))
    for row, document in enumerate(loaded.documents):
        text = f"{document.title}\n{document.text}"
        assert int(np.argmax(index.reconstruct(row))) == len(text) % DIMENSION
    assert loaded.manifest.documents == index.ntotal == 5


def test_a_fitting_index_is_left_alone_without_loading_the_model(tmp_path: Path, corpus: Path) -> None:
    """The second build is none; touching the file without changing a document is none either."""
    embedder = Embedder()
    assert ingest(CorpusSource(corpus), tmp_path / "index", _silent, embedder.load).built
    assert not ingest(CorpusSource(corpus), tmp_path / "index", _silent, embedder.load).built
    corpus.write_text(corpus.read_text() + "\n")
    assert not ingest(CorpusSource(corpus), tmp_path / "index", _silent, embedder.load).built
    assert embedder.loaded == 1


@pytest.mark.parametrize("damage", ["changed corpus", "changed documents", "no vectors", "torn manifest"])
def test_an_index_that_no_longer_fits_is_built_again(tmp_path: Path, corpus: Path, damage: str) -> None:
    """Whatever was changed or lost, the result is whole again."""
    embedder, out = Embedder(), tmp_path / "index"
    ingest(CorpusSource(corpus), out, _silent, embedder.load)
    match damage:
        case "changed corpus":
            corpus.write_text(corpus.read_text() + '{"id": "new", "text": "more"}\n')
        case "changed documents":
            (out / "documents.parquet").write_bytes(b"PAR1")
        case "no vectors":
            (out / "index.faiss").unlink()
        case "torn manifest":
            (out / "manifest.json").write_text('{"stamp": "')
    assert ingest(CorpusSource(corpus), out, _silent, embedder.load).built
    assert load_documents(out).manifest.documents >= 5
    assert sorted(item.name for item in tmp_path.iterdir()) == ["corpus.jsonl", "index"]


def test_a_failed_build_leaves_the_old_index_and_no_rubbish(tmp_path: Path, corpus: Path) -> None:
    """The folder is replaced at the end or not at all."""
    out = tmp_path / "index"
    before = ingest(CorpusSource(corpus), out, _silent, Embedder().load).manifest
    corpus.write_text('{"id": "other", "text": "words"}\n')

    def wrong_width() -> Embed:
        return lambda texts: np.zeros((len(texts), 3), dtype=np.float32)

    with pytest.raises(ValueError, match="shape"):
        ingest(CorpusSource(corpus), out, _silent, wrong_width)
    assert load_documents(out).manifest == before
    assert sorted(item.name for item in tmp_path.iterdir()) == ["corpus.jsonl", "index"]


def test_a_wrong_corpus_ends_the_command_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and no traceback."""
    assert main(["--corpus", str(tmp_path / "nope"), "--out", str(tmp_path / "index")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_loading_nothing_says_how_to_build(tmp_path: Path) -> None:
    """The error names the command that would help."""
    with pytest.raises(CorpusError, match=r"python -m rag_service\.ingest --out"):
        load_documents(tmp_path / "index")
