"""The command: where writes lie when nobody says where, and no traceback for a folder with an odd name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rag_service.vector_db import __main__ as command
from rag_service.vector_db import app
from rag_service.vector_db.app import make_app
from rag_service.vector_db.collection import open_collection
from rag_service.vector_db.database import Database
from rag_service.vector_db.operations import Delete


@pytest.fixture(autouse=True)
def _threads_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))


def test_writes_lie_under_the_name_of_a_link_wherever_it_leads(
    tmp_path: Path, make_index: Callable[[Path, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that is led to a new folder and reloaded: what is written then is there after a restart."""
    link = tmp_path / "current"
    link.symlink_to(make_index(tmp_path / "v1", "abc"))
    versions: list[int] = []

    def start(then: Callable[[Database], None]) -> None:
        def make(database: Database) -> object:
            then(database)
            return make_app(database)

        monkeypatch.setattr(app, "make_app", make)
        monkeypatch.setattr(command, "serve", lambda *_, **__: 0)
        assert command.main(["--index", str(link)]) == 0

    def lead_elsewhere_reload_and_write(database: Database) -> None:
        link.unlink()
        link.symlink_to(make_index(tmp_path / "v2", "bcd"))
        database._replace(database._reopen())
        versions.append(database.collection.commit([Delete(("b",))])[0].version)  # type: ignore[union-attr]

    start(lead_elsewhere_reload_and_write)
    start(lambda database: versions.append(database.collection.version))
    assert versions == [1, 1]
    assert [folder.name for folder in tmp_path.glob("*.state")] == ["current.state"]


def test_a_dot_is_a_name_like_any_other(
    index_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder one stands in has a name, and where it holds no index the end is a sentence."""
    monkeypatch.chdir(index_dir)
    state_dir = command._state_beside(Path())
    assert state_dir == index_dir.with_name("index.state")
    open_collection(Path(), state_dir=state_dir).close()
    monkeypatch.chdir(index_dir.parent)
    assert command.main(["--index", "."]) == 2
    assert "manifest.json does not exist" in capsys.readouterr().err
    assert command.main(["--index", "/"]) == 2
