"""The ingest's part: mapped, checked, and with another kind of index only where that is whole."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import pytest

from rag_service.corpus import CorpusError
from rag_service.ingest import DIMENSION
from rag_service.vector_db.base import open_base
from rag_service.vector_db.kinds import Tuning

IVF = Tuning(kind="ivf", nlist=1)


def _said(index_dir: Path, built_dir: Path) -> list[str]:
    said: list[str] = []
    base = open_base(index_dir, IVF, built_dir=built_dir, report=said.append)
    assert base.searcher.kind.name == "ivf"
    query = np.eye(DIMENSION, dtype=np.float32)[:1]
    assert base.searcher.search(query, 1, None).rows.tolist() == [[0]]
    assert base.vector_at(0)[0] == 1.0
    return said


def test_another_kind_is_built_once_and_kept(index_dir: Path, tmp_path: Path) -> None:
    """The second start reads it."""
    assert _said(index_dir, tmp_path / "built") == ["building ivf {'nlist': 1, 'nprobe': 1} over 3 vectors"]
    assert _said(index_dir, tmp_path / "built") == []


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "note"])
def test_a_kept_index_that_is_not_what_was_written_is_made_anew(
    index_dir: Path, tmp_path: Path, damage: str
) -> None:
    """Nothing is lost by it, as it follows from the ingest; the report names the file."""
    _said(index_dir, tmp_path / "built")
    (path,) = (tmp_path / "built").glob("*.faiss")
    data = bytearray(path.read_bytes())
    match damage:
        case "flipped":
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
        case "cut":
            path.write_bytes(data[:-1])
        case "empty":
            path.write_bytes(b"")
        case "note":
            path.with_suffix(".json").write_text("{")
    told = _said(index_dir, tmp_path / "built")
    assert str(path) in told[0] and "made anew" in told[0]
    assert _said(index_dir, tmp_path / "built") == []


def test_a_built_index_that_cannot_be_kept_is_used_all_the_same(
    index_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs the next start its time; no part of a file takes up the room that is left."""

    def full(_: object, file: str) -> None:
        Path(file).write_bytes(b"part")
        raise RuntimeError("Error in FileIOWriter: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(faiss, "write_index", full)
        assert _said(index_dir, tmp_path / "built") == [
            "building ivf {'nlist': 1, 'nprobe': 1} over 3 vectors"
        ]
    assert list((tmp_path / "built").iterdir()) == []


def test_numbers_that_are_not_finite_are_refused(index_dir: Path) -> None:
    """A damaged vector would make every comparison with it meaningless."""
    index = faiss.IndexFlatIP(DIMENSION)
    index.add(np.full((3, DIMENSION), np.nan, dtype=np.float32))
    faiss.write_index(index, str(index_dir / "index.faiss"))
    with pytest.raises(CorpusError, match="not finite"):
        open_base(index_dir, Tuning())


def test_documents_of_one_ingest_never_meet_vectors_of_the_next(
    index_dir: Path, make_index: Callable[[Path, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ingest that ends between two reads would give right sizes and wrong answers; it is noticed."""
    read_index = faiss.read_index

    def replaced_just_before(*arguments: object) -> object:
        monkeypatch.setattr("rag_service.vector_db.base.faiss.read_index", read_index)
        index_dir.rename(index_dir.with_name("before"))
        make_index(index_dir, "abd")
        return read_index(*arguments)

    monkeypatch.setattr("rag_service.vector_db.base.faiss.read_index", replaced_just_before)
    with pytest.raises(CorpusError, match="was replaced while it was read"):
        open_base(index_dir, Tuning())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_vectors_are_mapped_and_not_copied(index_dir: Path) -> None:
    """The index file is among the process's mapped files."""
    base = open_base(index_dir, Tuning())
    assert len(base) == 3
    assert str((index_dir / "index.faiss").resolve()) in Path("/proc/self/maps").read_text()
