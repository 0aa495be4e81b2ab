"""One run at a time, and a lever that stops them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.errors import RunRefused
from chaos.safety.lock import run_lock


@pytest.fixture(autouse=True)
def lever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "lever"
    monkeypatch.setenv("RAGQUAKE_SAFETY_LEVER", str(path))
    return path


def test_a_second_run_is_refused_and_told_who_is_in_the_way(tmp_path: Path) -> None:
    """Two runs never share a machine's stack."""
    path = tmp_path / "state" / "run.lock"
    with (
        run_lock(path, "ragquake run spike"),
        pytest.raises(RunRefused, match="ragquake run spike"),
        run_lock(path, "ragquake run steady"),
    ):
        raise AssertionError("the second run got in")


def test_the_lock_is_free_after_a_run_however_it_ended(tmp_path: Path) -> None:
    """An error in a run does not keep the next one out."""
    path = tmp_path / "run.lock"
    with pytest.raises(ZeroDivisionError), run_lock(path, "first"):
        raise ZeroDivisionError
    with run_lock(path, "second"):
        assert "second" in path.read_text()


def test_the_safety_lever_keeps_runs_from_starting(tmp_path: Path, lever: Path) -> None:
    """While the lever is pulled nothing starts, and the message names the file."""
    lever.touch()
    with pytest.raises(RunRefused, match="safety lever"), run_lock(tmp_path / "run.lock", "run"):
        raise AssertionError("started with the lever pulled")
