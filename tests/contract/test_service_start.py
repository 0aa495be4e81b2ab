"""The service starts on a whole index or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rag_service.corpus import Document, Manifest, stamp_of
from rag_service.corpus.index import write_documents, write_manifest

pytestmark = pytest.mark.slow

DOCUMENTS = (Document("a", "os.rename", "Rename a file."),)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("stamp", "1 documents that do not fit the stamp of manifest.json"),
        ("documents", "documents.parquet cannot be read"),
        ("folder", "manifest.json does not exist"),
    ],
)
def test_an_index_that_does_not_fit_its_stamp_ends_the_start(tmp_path: Path, damage: str, said: str) -> None:
    """Exit 4 and one sentence with the command that helps: public incidents began with half an index."""
    index = tmp_path / "index"
    if damage != "folder":
        index.mkdir()
        write_documents(index, DOCUMENTS)
        stamp = "0" * 64 if damage == "stamp" else stamp_of(DOCUMENTS, "model")
        write_manifest(index, Manifest(stamp, "model", 384, 48, 1, "test", "sources"))
    if damage == "documents":
        (index / "documents.parquet").write_bytes(b"PAR1")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAG_")}
    ended = subprocess.run(
        [sys.executable, "-m", "rag_service"],
        env=environment | {"RAG_INDEX_DIR": str(index), "RAG_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 4, ended.stderr
    assert said in ended.stderr
    assert f"python -m rag_service.ingest --out {index}" in ended.stderr
    assert "Traceback" not in ended.stderr
