"""Which fault proxy set-up provides for, and that its one line says why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import steps_toxiproxy


def fake(folder: Path, name: str, says: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho {says}\n")
    (folder / name).chmod(0o755)
    return str(folder)


def test_a_wish_comes_first(tmp_path: Path) -> None:
    """RAGQUAKE_PROXY=builtin and TOXIPROXY_URL are obeyed even where Go could build."""
    path = fake(tmp_path / "bin", "go", "go1.26.1")
    for wish, said in (
        ({"RAGQUAKE_PROXY": "builtin"}, "builtin"),
        ({"TOXIPROXY_URL": "http://x"}, "http://x"),
    ):
        plan = steps_toxiproxy.decide(tmp_path, {**wish, "PATH": path})
        assert not plan.build
        assert said in plan.why


def test_one_on_path_is_used(tmp_path: Path) -> None:
    """Nothing is compiled where Toxiproxy is installed."""
    path = fake(tmp_path / "bin", "toxiproxy-server", "2.12.0")
    plan = steps_toxiproxy.decide(tmp_path, {"PATH": path})
    assert not plan.build
    assert path in plan.why


@pytest.mark.parametrize(
    ("says", "build"), [("go1.26.1", True), ("go1.23", True), ("go1.22.9", False), ("x", False)]
)
def test_go_must_be_new_enough(tmp_path: Path, says: str, build: bool) -> None:
    """Go 1.23 is the oldest that compiles Toxiproxy 2.12."""
    plan = steps_toxiproxy.decide(tmp_path, {"PATH": fake(tmp_path / "bin", "go", says)})
    assert plan.build is build
    assert build or "built-in" in plan.why


def test_without_go_the_builtin_proxy_is_named(tmp_path: Path) -> None:
    """No Go is no error, and the line says what is used instead."""
    plan = steps_toxiproxy.decide(tmp_path, {"PATH": str(tmp_path)})
    assert plan == steps_toxiproxy.Plan(
        False, "the built-in proxy will be used: neither Toxiproxy nor Go is on PATH"
    )


def build_of(tmp_path: Path, code: int) -> steps_toxiproxy.Build:
    folder = tmp_path / ".build"
    folder.mkdir()
    for built in steps_toxiproxy.PROGRAMS:
        (folder / built).touch()
    process = subprocess.Popen([sys.executable, "-S", "-c", f"raise SystemExit({code})"])
    return steps_toxiproxy.Build(process, folder, tmp_path, tmp_path / "log")


def test_a_finished_build_is_moved_into_place(tmp_path: Path) -> None:
    """Both programs arrive, the next set-up sees them, and the folder they were built in is gone."""
    build = build_of(tmp_path, 0)
    build.finish()
    build.abandon()
    assert {path.name for path in tmp_path.iterdir()} == {
        "toxiproxy-server",
        "toxiproxy-cli",
        "toxiproxy.version",
    }
    assert not steps_toxiproxy.decide(tmp_path, {"PATH": ""}).build


def test_a_failed_build_is_not_tried_again_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure leaves no half, says that the built-in proxy will be used, and how to try again."""
    build = build_of(tmp_path, 1)
    build.finish()
    build.abandon()
    assert "built-in proxy will be used" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["toxiproxy.failed"]
    plan = steps_toxiproxy.decide(tmp_path, {"PATH": fake(tmp_path / "bin", "go", "go1.26")})
    assert not plan.build
    assert "to try again: rm " in plan.why
