"""The index folder as the service reads it: whole, or a message that says what to do."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rag_service.segments.documents import Documents, IndexUnreadable


def write(folder, ids=("a", "b"), manifest=None):
    table = pa.table({"id": list(ids), "title": list(ids), "text": ["text"] * len(ids)}) if ids else None
    if table is not None:
        pq.write_table(table, folder / "documents.parquet")
    (folder / "manifest.json").write_text(json.dumps(manifest if manifest is not None else {"stamp": "s1"}))


def test_reads_documents_and_stamp(tmp_path):
    """Order is kept, ids are found."""
    write(tmp_path)
    documents = Documents.load(tmp_path)
    assert [document.id for document in documents.all] == ["a", "b"]
    assert (documents.stamp, documents["b"].text, "c" in documents) == ("s1", "text", False)


def test_a_missing_index_says_how_to_build_it(tmp_path):
    """The message holds the command."""
    with pytest.raises(IndexUnreadable, match=r"no index in .*python -m rag_service\.ingest --out"):
        Documents.load(tmp_path / "nowhere")


@pytest.mark.parametrize("break_it", ["manifest", "stamp", "parquet"])
def test_a_broken_index_is_refused(tmp_path, break_it):
    """A torn file is not an empty corpus."""
    write(tmp_path, manifest={} if break_it == "stamp" else None)
    if break_it == "manifest":
        (tmp_path / "manifest.json").write_text("{")
    if break_it == "parquet":
        (tmp_path / "documents.parquet").write_bytes(b"PAR1")
    with pytest.raises(IndexUnreadable, match="is broken"):
        Documents.load(tmp_path)


def test_an_empty_index_is_refused(tmp_path):
    """A service without documents could only refuse every question."""
    empty = pa.table({name: pa.array([], pa.string()) for name in ("id", "title", "text")})
    write(tmp_path, ids=())
    pq.write_table(empty, tmp_path / "documents.parquet")
    with pytest.raises(IndexUnreadable, match="holds no document"):
        Documents.load(tmp_path)
