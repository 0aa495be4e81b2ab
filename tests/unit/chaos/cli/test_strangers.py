"""Whatever a stranger types or has: one clear message, the right exit code, no traceback."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos import cli
from chaos.exit_codes import ExitCode
from chaos.safety.interruption import Interrupted

ROOT = Path(__file__).resolve().parents[4]
Ragquake = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ragquake(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Ragquake:
    """Runs the command in this process, in an empty folder; its exit code and what it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAGQUAKE_PROXY", "builtin")
    monkeypatch.delenv("RAGQUAKE_DEBUG", raising=False)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ragquake", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_without_a_command_the_help_is_printed_and_nothing_passed(ragquake: Ragquake) -> None:
    """`ragquake $COMMAND` with an empty variable is no success."""
    code, out, err = ragquake()
    assert code == ExitCode.USAGE
    assert "Usage: ragquake" in err and "Start with" in err and out == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rum"], "Did you mean 'run'?"),
        (["run", "spike", "--dry-rn"], "did you mean --dry-run?"),
        (["evaluate", "--jsn"], "did you mean --json?"),
        (["breaking-point", "spike"], "--over"),
        (["run", "spike", "--repeats", "0"], "--repeats"),
        (["run", "spike", "--repeats", "many"], "--repeats"),
        (["run", "slow-vector"], "did you mean slow-vector-db"),
        (["suite", "cii"], "did you mean ci"),
        (["explain", ""], "ragquake list"),
        (["run", ""], "no experiment"),
    ],
)
def test_a_slip_names_what_was_meant(ragquake: Ragquake, arguments: list[str], said: str) -> None:
    """In one line."""
    code, out, err = ragquake(*arguments)
    assert code == ExitCode.USAGE
    assert said in err and len(err.strip().splitlines()) == 1
    assert out == ""


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff\xfe",
        b"- 1\n- 2\n",
        b"just text",
        b"{",
        b"a: &a [*a]",
        b"kind: Experiment\n",
        b"a: 1\na: 2\n",
    ],
)
@pytest.mark.parametrize("command", [["run"], ["run", "--dry-run"], ["validate"], ["suite"]])
def test_a_broken_file_is_told_with_its_name(
    ragquake: Ragquake, content: bytes, command: list[str], tmp_path: Path
) -> None:
    """Whatever stands in it."""
    (tmp_path / "mine.yaml").write_bytes(content)
    code, out, err = ragquake(*command, "mine.yaml")
    assert code == ExitCode.USAGE
    assert "mine.yaml" in err and "Traceback" not in out + err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["evaluate", "report", "rollback"])
@pytest.mark.parametrize("kind", ["missing", "file", "empty"])
def test_what_is_no_bundle_is_called_none(
    ragquake: Ragquake, command: str, kind: str, tmp_path: Path
) -> None:
    """A missing folder, a file, a folder with something else in it."""
    place = tmp_path / "place"
    if kind == "file":
        place.write_text("x")
    elif kind == "empty":
        place.mkdir()
    code, out, err = ragquake(command, "place")
    assert code == ExitCode.USAGE
    assert "place: not a bundle" in err and out == ""


@pytest.mark.parametrize("journal", [b"", b"\x00\xff", b'{"at_s":1,"event":"run.sta'])
def test_a_bundle_without_a_word_in_its_journal_is_told(
    ragquake: Ragquake, journal: bytes, tmp_path: Path
) -> None:
    """A run that died in its first instant left something; nothing of it is ever called passed."""
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "journal.jsonl").write_bytes(journal)
    code, out, err = ragquake("evaluate", "place")
    assert code not in (ExitCode.PASSED, ExitCode.FAILED)
    assert "Traceback" not in out + err and out + err


@pytest.mark.parametrize("flag", ["--runs", "--state"])
@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_is_told(
    ragquake: Ragquake, flag: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its name, why, and how to take another one; the machine is at fault, not the service."""
    make, place = Path.mkdir, tmp_path / "place"

    def refuse(path: Path, *given: bool | int, **named: bool | int) -> None:
        if place in (path, path.absolute()):
            raise OSError(number, os.strerror(number), str(path))
        make(path, *given, **named)

    monkeypatch.setattr(Path, "mkdir", refuse)
    code, _, err = ragquake("run", "steady", flag, place)
    assert code == ExitCode.ENVIRONMENT
    assert str(place) in err and os.strerror(number).lower() in err.lower() and flag in err
    assert "Traceback" not in err and "itself failed" not in err


def test_a_file_where_a_folder_should_be_is_told(ragquake: Ragquake, tmp_path: Path) -> None:
    """`--runs notes.txt` is a slip."""
    (tmp_path / "notes.txt").touch()
    for flag in ("--runs", "--state"):
        code, _, err = ragquake("run", "steady", flag, "notes.txt")
        assert code == ExitCode.ENVIRONMENT
        assert "notes.txt" in err and "itself failed" not in err


TARGET = (
    "apiVersion: ragquake/v1\nkind: Target\nname: staging\nservice: {url: 'http://8.8.8.8:80'}\n"
    "telemetry: {listen: '127.0.0.1:4318'}\nallow_targets: ['8.8.8.8:80']\n"
)
OBJECTIVES = (
    "apiVersion: ragquake/v1\nkind: Objectives\nobjectives:\n"
    "- {name: a, segment: journey, indicator: p95, target: '<= 1s'}\n"
)
SUITE = "apiVersion: ragquake/v1\nkind: Suite\nname: s\nbudget: 9m\nexperiments: [{name: smoke}]\n"


@pytest.mark.parametrize(
    ("command", "text", "said"),
    [
        (("run",), TARGET, "ragquake run NAME --stack it.yaml"),
        (("run",), OBJECTIVES, "objectives: it.yaml"),
        (("run",), SUITE, "ragquake suite it.yaml"),
        (("explain",), SUITE, "ragquake suite it.yaml"),
        (("suite",), TARGET, "ragquake run NAME --stack it.yaml"),
        (("suite",), "apiVersion: ragquake/v1\nkind: Experiment\nname: a\n", "ragquake run it.yaml"),
        (("run",), "services: {db: {image: postgres}}\n", "ragquake init"),
        (
            ("run", "smoke", "--dry-run", "--set", "objectives=${folder}/it.yaml", "--llm"),
            SUITE,
            "not Objectives",
        ),
    ],
)
def test_a_file_of_another_kind_is_shown_its_door(
    ragquake: Ragquake, tmp_path: Path, command: tuple[str, ...], text: str, said: str
) -> None:
    """In one line: what its keys lack of another kind is of no use to anybody."""
    (tmp_path / "it.yaml").write_text(text)
    last = "simulator" if command[-1] == "--llm" else "it.yaml"
    given = [word.replace("${folder}", str(tmp_path)) for word in command]
    code, _, err = ragquake(*given, last)
    assert code == ExitCode.USAGE
    assert said in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("command", ["run", "suite", "explain"])
def test_a_name_that_is_a_file_here_is_told_its_path(
    ragquake: Ragquake, tmp_path: Path, command: str
) -> None:
    """`ragquake run slow-search` beside slow-search.yaml; a list of all there is would hide it."""
    (tmp_path / "slow-search.yaml").write_text("x: 1\n")
    code, _, err = ragquake(command, "slow-search")
    assert code == ExitCode.USAGE
    assert "for the file slow-search.yaml give its path" in err


def test_a_suite_is_told_who_owns_its_target(ragquake: Ragquake, tmp_path: Path) -> None:
    """A public address needs the word of whoever runs a suite, as for one run."""
    (tmp_path / "it.yaml").write_text(TARGET)
    suite = ("suite", "ci", "--dry-run", "--stack", "it.yaml")
    code, _, err = ragquake(*suite)
    assert code == ExitCode.USAGE and "--i-own-this-target" in err
    _, _, err = ragquake(*suite, "--i-own-this-target")
    assert "--i-own-this-target" not in err


@pytest.mark.parametrize("given", ["4317", "http://127.0.0.1:4317/v1", "10.0.0.5:4317", "0.0.0.0:4317"])
def test_where_up_sends_spans_is_told_with_what_to_write(ragquake: Ragquake, given: str) -> None:
    """It sends no load or fault there, and `such as` has the port that was meant."""
    code, _, err = ragquake("up", "--telemetry", given)
    assert code == ExitCode.USAGE
    assert "127.0.0.1:4317" in err.partition("such as")[2] and "load or faults" not in err


def test_a_url_to_compare_to_is_told_what_to_write(ragquake: Ragquake) -> None:
    """A URL alone says neither where faults go in nor where the spans come out."""
    code, _, err = ragquake("run", "smoke", "--dry-run", "--compare-to", "http://127.0.0.1:8080")
    assert code == ExitCode.USAGE
    assert "kind: Target" not in err and "--compare-to candidate.yaml" in err


STAGES = (
    "chaos.experiment.find_experiment",
    "chaos.stack.opening.require_kind",
    "chaos.run.runner.run_lock",
    "chaos.run.runner.clear_leftovers",
    "chaos.run.runner.new_bundle",
)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("reason", [KeyboardInterrupt(), Interrupted("SIGTERM")])
def test_ctrl_c_at_any_stage_is_130(
    ragquake: Ragquake,
    stage: str,
    reason: KeyboardInterrupt,
    as_json: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before anything was started there is nothing to roll back, and it is said who stopped it."""

    def stopped(*_given: object, **_named: object) -> None:
        raise reason

    monkeypatch.setattr(stage, stopped)
    code, out, err = ragquake("run", "steady", *(["--json"] if as_json else []))
    assert code == ExitCode.INTERRUPTED
    assert err.strip() == "stopped by a person"
    if as_json:
        last = json.loads(out.splitlines()[-1])
        assert (last["event"], last["exit_code"]) == ("error", ExitCode.INTERRUPTED)


def test_a_reader_who_leaves_is_no_failure() -> None:
    """`ragquake list | head -1` ends as `ragquake list` does, without a complaint."""
    for arguments in (["list"], ["list", "--json"], ["explain", "spike"], ["run", "spike", "--dry-run"]):
        running = subprocess.Popen(
            [sys.executable, "-c", "from chaos import cli; cli.main()", *arguments],
            env=os.environ | {"PYTHONPATH": str(ROOT), "RAGQUAKE_PROXY": "builtin"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert running.stdout is not None and running.stderr is not None
        running.stdout.close()
        complaint = running.stderr.read()
        running.stderr.close()
        assert (running.wait(120), complaint) == (0, ""), arguments


def test_a_terminal_of_another_alphabet_costs_no_run() -> None:
    """What it cannot show becomes a question mark."""
    done = subprocess.run(
        [sys.executable, "-c", "from chaos import cli; cli.main()", "explain", "spike"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"baseline" in done.stdout and b"?" in done.stdout
