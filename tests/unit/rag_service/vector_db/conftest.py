"""A small index whose documents point in directions of their own."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rag_service.corpus import CorpusSource
from rag_service.ingest import DIMENSION, ingest


def _make_index(out: Path, names: str) -> Path:
    corpus = out.with_name(f"{out.name}-{names}.jsonl")
    corpus.write_text(
        "".join(json.dumps({"id": name, "title": name, "text": name * 10}) + "\n" for name in names)
    )

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([np.eye(DIMENSION, dtype=np.float32)["abcdefgh".index(text[0])] for text in texts])

    ingest(CorpusSource(corpus), out, lambda _: None, lambda: embed)
    return out


@pytest.fixture
def make_index() -> Callable[[Path, str], Path]:
    """Makes an index folder of one document for each letter."""
    return _make_index


@pytest.fixture
def index_dir(tmp_path: Path) -> Path:
    return _make_index(tmp_path / "index", "abc")
