"""The command's manners: what is wrong is said in a sentence, with the exit code that scripts rely on."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest

from chaos import cli
from chaos.exit_codes import ExitCode

LABELS = ("Looks like:", "Bit when:", "Undone:")


@pytest.fixture
def ragquake(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the command in this process; returns its exit code and what it said on both channels."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ragquake", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "spkie"], "did you mean spike"),
        (["run"], "Missing argument"),
        (["run", "spike", "--bogus"], "bogus"),
        (["run", "spike", "--dry-run", "--set", "load.rate"], "KEY=VALUE"),
        (["nosuch"], "nosuch"),
        (["list", "things"], "experiments, faults, suites"),
        (["explain", "latncy"], "did you mean latency"),
        (["explain", "vectordb-down"], "did you mean vector-db-down"),
        (["explain", "nowhere.yaml"], "no such file"),
        (["evaluate", "nowhere"], "not a bundle"),
        (["rollback", "nowhere"], "not a bundle"),
        (["validate", "nowhere.yaml"], "no such file"),
        (["up", "--port", "service"], "PART=NUMBER"),
        (["up", "--llm", "vlm"], "simulator, vllm, or a URL"),
        (["up", "--llm", "http://[::1:8000"], "http://127.0.0.1:8000"),
        (["run", "spike", "--dry-run", "--llm", "https://127.0.0.1"], "plain HTTP"),
        (["run", "spike", "--dry-run", "--stack", "podman"], "local, compose"),
        (["run", "spike", "--stack", "compose", "--llm", "http://127.0.0.1:1"], "container"),
        (["run", "spike", "--dry-run", "--model", "some/model"], "--llm vllm"),
        (
            ["breaking-point", "spike", "--over", "x.y", "--from", "0ms", "--to", "1s"],
            "slow-vector-db",
        ),
    ],
)
def test_a_wrong_command_line_is_exit_2_and_a_sentence(ragquake, arguments: list[str], said: str) -> None:
    """Nobody sees a traceback for a typo."""
    code, out, err = ragquake(*arguments)

    assert code == ExitCode.USAGE
    assert said in err
    assert "Traceback" not in out + err


def test_a_dry_run_checks_everything_and_starts_nothing(ragquake, tmp_path: Path) -> None:
    """The plan is shown; no bundle appears."""
    code, out, _ = ragquake("run", "spike", "--dry-run", "--runs", tmp_path / "runs")

    assert code == ExitCode.PASSED
    assert "recovery" in out
    assert not (tmp_path / "runs").exists()


def test_a_plan_says_what_its_faults_are(ragquake) -> None:
    """A fault's name is the experiment's own; what is done to which part stands beside it."""
    lines = [" ".join(line.split()) for line in ragquake("explain", "vector-db-empty")[1].splitlines()]
    assert any("empty_results on vector_db, path: */search" in line for line in lines)
    assert "faults none" in [" ".join(line.split()) for line in ragquake("explain", "steady")[1].splitlines()]


def test_a_dry_run_misses_what_a_run_would_miss(ragquake, tmp_path: Path) -> None:
    """vLLM that is not set up is the environment's fault, and is said before anything is made."""
    for more in ([], ["--dry-run"]):
        code, _, err = ragquake(
            "run", "spike", "--llm", "vllm", "--state", tmp_path, "--runs", tmp_path / "runs", *more
        )
        assert code == ExitCode.ENVIRONMENT
        assert "make vllm" in err
    assert list(tmp_path.iterdir()) == []


def test_machines_get_json(ragquake) -> None:
    """`--json` prints one document and nothing else."""
    _, listed, _ = ragquake("list", "--json")
    _, faults, _ = ragquake("list", "faults", "--json")
    _, suites, _ = ragquake("list", "suites", "--json")

    assert {"spike", "steady", "vector-db-down"} <= {row["name"] for row in json.loads(listed)}
    assert {"latency", "down"} <= {row["kind"] for row in json.loads(faults)}
    assert "steady" in next(row["experiments"] for row in json.loads(suites) if row["name"] == "ci")


def test_every_kind_of_fault_is_explained(ragquake) -> None:
    """What can be declared can be looked up, with its parameters."""
    for row in json.loads(ragquake("list", "faults", "--json")[1]):
        code, out, _ = ragquake("explain", row["kind"])
        assert code == ExitCode.PASSED
        assert "parameters:" in out
        assert not re.search(r"default (None|'|\d+\.0\b)", out), "a default that no experiment could have"


@pytest.mark.parametrize("width", [60, 100])
def test_an_explanation_fills_the_terminal(width: int) -> None:
    """Its paragraphs are wrapped once, to the terminal's width, and its example can be copied in one line."""
    from chaos.catalogue import explain_fault
    from chaos.faults import fault_kinds

    for kind in fault_kinds():
        lines = (explain_fault(kind, width) or "").splitlines()
        [example] = [line for line in lines if line.startswith("    ") and f"kind: {kind}" in line]
        assert example.endswith("}")
        assert all(len(line) <= width for line in lines if line != example)
        for line, following in itertools.pairwise(lines):
            if line[:1].isalpha() and following[:1].isalpha() and not following.startswith(LABELS):
                assert len(f"{line} {following.split()[0]}") > width, f"{kind}: broken too early: {line!r}"


def test_an_unforeseen_error_is_a_sentence_too(ragquake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in ragquake says so, without a traceback, and as a failure of the harness."""
    monkeypatch.delenv("RAGQUAKE_DEBUG", raising=False)

    def broken() -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("chaos.catalogue.experiment_rows", broken)
    code, _, err = ragquake("list")

    assert code == ExitCode.ENVIRONMENT
    assert "by nothing" in err
    assert "Traceback" not in err
