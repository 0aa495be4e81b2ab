"""A small index whose three documents point in three directions."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rag_service.corpus import CorpusSource
from rag_service.ingest import DIMENSION, ingest


@pytest.fixture
def index_dir(tmp_path: Path) -> Path:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"id": name, "text": name * 10}) + "\n" for name in "abc"))

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([np.eye(DIMENSION, dtype=np.float32)["abc".index(text[0])] for text in texts])

    ingest(CorpusSource(corpus), tmp_path / "index", lambda _: None, lambda: embed)
    return tmp_path / "index"
