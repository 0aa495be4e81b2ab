"""Set-up indexes the standard library, but never over somebody's own index."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import steps_index


def index_of(folder: Path, manifest: object) -> Path:
    folder.mkdir()
    (folder / "manifest.json").write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
    return folder


def test_somebodys_own_documents_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No ingest is started, and the one line says what is there and how to get the other."""
    index_of(tmp_path / ".ragquake", "")
    index_of(tmp_path / ".ragquake" / "index", {"corpus": "docs/handbook"})
    steps_index.provide(tmp_path)  # would fail: there is no Python under this root
    said = capsys.readouterr()
    assert "docs/handbook" in said.out + said.err


@pytest.mark.parametrize(
    "manifest", [{"corpus": "Python 3.9.1 standard library"}, {"corpus": 7}, {"stamp": "x"}, [], "torn {"]
)
def test_anything_else_is_made_anew_or_looked_after(tmp_path: Path, manifest: object) -> None:
    """The standard library of another Python, and whatever cannot be read, are set-up's own business."""
    assert steps_index.foreign_corpus(index_of(tmp_path / "index", manifest)) is None


def test_no_index_is_nobodys(tmp_path: Path) -> None:
    """The first set-up builds."""
    assert steps_index.foreign_corpus(tmp_path / "index") is None
