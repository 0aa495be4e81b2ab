"""Completion offers what there is, at once; help is printed without loading what a run needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from chaos.catalogue import experiment_rows
from chaos.cli import app, completing
from chaos.faults import fault_kinds

ROOT = Path(__file__).resolve().parents[4]
HEAVY = (
    "numpy",
    "duckdb",
    "pyarrow",
    "httpx",
    "requests",
    "ruamel",
    "psutil",
    "rich.markdown",
    "slo",
)


def test_each_experiment_is_offered_with_its_title() -> None:
    """All that `ragquake list` shows, and no base that cannot run by itself."""
    offered = dict(completing.experiments(""))
    assert set(offered) == {row["name"] for row in experiment_rows()}
    assert offered["smoke"] == "One short pass through everything, for CI"
    assert [name for name, _ in completing.experiments("smo")] == ["smoke"]


def test_each_kind_of_fault_is_offered() -> None:
    """Names are read from the files that declare them, and are the registered ones."""
    assert {name for name, _ in completing.fault_kinds("")} == set(fault_kinds())
    assert all(said for _, said in completing.fault_kinds(""))


def test_an_abstract_experiment_is_not_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One's own experiments are, from the folder where one stands."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "chaos" / "experiments"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("name: mine\ntitle: 'Mine'\n")
    (folder / "base.yaml").write_text("abstract: true\nname: base\n")
    offered = dict(completing.experiments(""))
    assert offered["mine"] == "Mine" and "base" not in offered


def test_the_newest_bundles_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no bundle is not; without any nothing is offered."""
    monkeypatch.chdir(tmp_path)
    assert completing.bundles("") == []
    for name in ("20260101T000000Z-a-1", "20260201T000000Z-b-2", "20260301T000000Z-empty-3"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        if "empty" not in name:
            (tmp_path / "runs" / name / "journal.jsonl").touch()
    assert completing.bundles("") == ["runs/latest", "runs/20260201T000000Z-b-2", "runs/20260101T000000Z-a-1"]
    assert completing.bundles("runs/20260101") == ["runs/20260101T000000Z-a-1"]


def ran(*arguments: str, **environment: str) -> tuple[str, set[str]]:
    """What the command printed, and the modules that it had loaded at its end."""
    code = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: sys.stderr.write(json.dumps(sorted(sys.modules))))\n"
        "from chaos import cli; cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.stdout, set(json.loads(done.stderr))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_answered_without_heavy_imports(shell: str) -> None:
    """Nobody waits for a Tab key."""
    asked = {
        "_RAGQUAKE_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "ragquake run spi",
        "COMP_CWORD": "2",
        "_TYPER_COMPLETE_ARGS": "ragquake run spi",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    said, modules = ran(**asked)
    assert "spike" in said and "steady" not in said
    assert modules & set(HEAVY) - {"rich.markdown"} == set()


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["version"]])
def test_help_is_printed_without_heavy_imports(arguments: list[str]) -> None:
    """A room is imported by the command that needs it."""
    said, modules = ran(*arguments)
    assert said
    assert modules & set(HEAVY) == set()


@pytest.mark.parametrize("arguments", [["list"], ["list", "faults"]])
def test_the_catalogue_is_read_without_what_only_a_run_needs(arguments: list[str]) -> None:
    """Databases, servers and clients cost more than reading and checking every experiment."""
    said, modules = ran(*arguments)
    assert len(said.splitlines()) > 5
    assert modules & {"duckdb", "pyarrow", "google.protobuf", "httpx", "uvicorn"} == set()


def test_every_command_has_help_with_an_example() -> None:
    """A first sentence that fits the list, and a line to copy."""
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        if name == "proxy":  # which has a parser of its own
            continue
        assert f"\n  ragquake {name}" in (command.epilog or "").replace("\b", ""), name
        assert not command.get_short_help_str(60).endswith("..."), name
        assert all(option.help for option in command.params), name
