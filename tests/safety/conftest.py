"""For each test a lever of its own, which nobody has pulled."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def lever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "lever"
    monkeypatch.setenv("RAGQUAKE_SAFETY_LEVER", str(path))
    return path
