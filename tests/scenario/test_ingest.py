"""An ingest that is killed, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rag_service.corpus import CorpusSource, load_documents
from rag_service.corpus.embeddings import KeptEmbeddings
from rag_service.ingest import DIMENSION, ingest

pytestmark = pytest.mark.slow

_DOCUMENTS = 3000
#: The real thing with a model that takes 50 ms a batch and needs no torch.
_SLOW_INGEST = """
import sys, time
from pathlib import Path
import numpy as np
from rag_service.corpus import CorpusSource
from rag_service.ingest import DIMENSION, ingest

def embed(texts):
    time.sleep(0.05)
    vectors = np.zeros((len(texts), DIMENSION), dtype=np.float32)
    vectors[np.arange(len(texts)), [int(text.rpartition(" ")[2]) % DIMENSION for text in texts]] = 1.0
    return vectors

ingest(CorpusSource(Path(sys.argv[1])), Path(sys.argv[2]), print, lambda: embed)
"""


def _start(corpus: Path, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _SLOW_INGEST, corpus, out], stdout=subprocess.DEVNULL)


def test_killed_again_and_again_it_still_ends_with_every_vector(tmp_path: Path) -> None:
    """`kill -9` at any moment loses at most the batch under way; the last run does only what is left."""
    corpus, out = tmp_path / "corpus.jsonl", tmp_path / "index"
    lines = (json.dumps({"id": f"d{n}", "text": f"text {n}"}) for n in range(_DOCUMENTS))
    corpus.write_text("\n".join(lines))
    kept: list[int] = []
    for round_number in range(3):
        process = _start(corpus, out)
        wanted = (kept[-1] if kept else 0) + 1
        deadline_s = time.monotonic() + 60.0
        while len(KeptEmbeddings.beside(out, DIMENSION)) < wanted:
            assert process.poll() is None, f"round {round_number} ended before it was killed"
            assert time.monotonic() < deadline_s, "the ingest embeds nothing"
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kept.append(len(KeptEmbeddings.beside(out, DIMENSION)))
        assert not out.exists()
    assert kept == sorted(set(kept)), "each round has to get further"
    assert kept[-1] < _DOCUMENTS
    embedded: list[str] = []

    def embed(texts):
        import numpy as np

        embedded.extend(texts)
        vectors = np.zeros((len(texts), DIMENSION), dtype=np.float32)
        vectors[np.arange(len(texts)), [int(text.rpartition(" ")[2]) % DIMENSION for text in texts]] = 1.0
        return vectors

    ingest(CorpusSource(corpus), out, lambda _: None, lambda: embed)
    assert len(embedded) == _DOCUMENTS - kept[-1]
    import faiss

    index = faiss.read_index(str(out / "index.faiss"))
    for row, document in enumerate(load_documents(out).documents):
        assert int(index.reconstruct(row).argmax()) == int(document.id[1:]) % DIMENSION
    assert sorted(item.name for item in tmp_path.iterdir()) == ["corpus.jsonl", "index"]
