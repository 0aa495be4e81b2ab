"""The event stream: what the journal says, as it is written, and a last line that says how it ended."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from chaos.cli.last_word import last_word
from chaos.errors import EnvironmentFailure, RunRefused
from chaos.exit_codes import ExitCode
from chaos.experiment import find_experiment, load_experiment
from chaos.run import guarded_run, runner
from chaos.run.events import EventStream
from chaos.run.journal import Journal, read
from chaos.run.live import Figures
from chaos.run.moment import Moment
from chaos.run.options import RunOptions
from chaos.run.phases import Ending
from chaos.run.stacks import FreshStacks
from chaos.safety.interruption import Interrupted
from slo.documents import DocumentError
from slo.verdict import Run, Verdict

FIGURES = Figures(50, 10.0, 0.0, 0.5, None, begun_per_s=4.0, in_flight=2)


class Clock:
    """Stands still until it is told the time."""

    now_s = 1000.0

    def unix_s(self) -> float:
        return self.now_s

    def monotonic_s(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def moment(elapsed_s: float) -> Moment:
    return Moment("fault", elapsed_s, 10.0, 4.0, FIGURES, ("slow",), {"vector_db": "open"})


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_the_facts_of_the_journal_come_as_they_are_written(tmp_path: Path) -> None:
    """Word for word, in order, each in a line of its own that is there at once."""
    out = io.StringIO()
    with Journal(tmp_path / "journal.jsonl", Clock(), EventStream(out, Clock()).fact) as journal:
        journal.append("phase.started", phase="fault")
        assert len(lines(out)) == 1
        journal.append("fault.injected", fault="slow", kind="latency", parameters={"latency_s": 2.0})
    assert lines(out) == read(tmp_path / "journal.jsonl")


def test_moments_come_once_a_second() -> None:
    """Whoever follows a run wants its state, not five lines a second of it."""
    out, clock = io.StringIO(), Clock()
    stream = EventStream(out, clock)
    for tick in range(26):
        stream.moment(moment(tick / 5))
        clock.now_s += 0.2
    told = lines(out)
    assert [round(one["elapsed_s"]) for one in told] == [0, 1, 2, 3, 4, 5]
    assert told[0]["intended_per_s"] == told[0]["begun_per_s"] == 4.0 and told[0]["p95_s"] is None
    assert told[0]["breakers"] == {"vector_db": "open"} and told[0]["faults"] == ["slow"]


def test_the_verdict_is_strict_json() -> None:
    """A verdict with an infinite percentile can be read by any reader."""
    out = io.StringIO()
    stream = EventStream(out, Clock())
    verdict = Verdict.model_validate(
        {"schema": "ragquake/verdict/v1", "verdict": "fail", "exit_code": 1, "run": Run(),
         "recovery": {"journey": {"value_s": float("inf")}}}
    )  # fmt: skip
    stream.verdict(verdict, bundle="runs/x", status="completed", message="", exit_code=1)
    [told] = [json.loads(line, parse_constant=pytest.fail) for line in out.getvalue().splitlines()]
    assert (told["event"], told["exit_code"], told["verdict"]["verdict"]) == ("verdict", 1, "fail")
    assert told["verdict"]["recovery"]["journey"]["value_s"] == "Infinity"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DocumentError(["a.yaml:1: wrong", "a.yaml:2: wrong, too"]), ExitCode.USAGE),
        (RunRefused("another run is under way"), ExitCode.ENVIRONMENT),
        (EnvironmentFailure("no"), ExitCode.ENVIRONMENT),
        (ZeroDivisionError("a bug"), ExitCode.ENVIRONMENT),
        (PermissionError(13, "Permission denied", "runs"), ExitCode.ENVIRONMENT),
    ],
)
def test_a_run_without_a_verdict_ends_in_an_error(error: Exception, code: int) -> None:
    """The last line says so, with the exit code that the command then ends with."""
    out = io.StringIO()
    with pytest.raises(type(error)), last_word(EventStream(out, Clock())):
        raise error
    [told] = lines(out)
    assert (told["event"], told["exit_code"]) == ("error", code)
    assert told["message"]


@pytest.mark.parametrize(
    ("reason", "said"),
    [(KeyboardInterrupt(), "stopped by a person"), (Interrupted("SIGTERM"), "stopped by a person"),
     (Interrupted("not judged, which ragquake evaluate x does"), "ragquake evaluate x")],
)  # fmt: skip
def test_a_stop_by_a_person_is_told(
    reason: KeyboardInterrupt, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 130, and what to do where something is left to be done."""
    out = io.StringIO()
    with pytest.raises(typer.Exit) as ended, last_word(EventStream(out, Clock())):
        raise reason
    assert ended.value.exit_code == ExitCode.INTERRUPTED
    assert said in lines(out)[0]["message"] and said in capsys.readouterr().err


def test_nothing_comes_after_the_last_line() -> None:
    """Whoever reads the last line has read how it ended."""
    out = io.StringIO()
    stream = EventStream(out, Clock())
    stream.error("x", 4)
    stream.step("late")
    stream.fact({"at_s": 1.0, "event": "run.finished"})
    assert [one["event"] for one in lines(out)] == ["error"]


class _Left(io.StringIO):
    """A reader who leaves after the first line."""

    def write(self, text: str) -> int:
        if self.getvalue():
            raise BrokenPipeError
        return super().write(text)


def test_a_reader_who_leaves_ends_no_run() -> None:
    """`ragquake run … --json | head -1` costs neither the run nor its rollback anything."""
    out = _Left()
    stream = EventStream(out, Clock())
    for text in ("one", "two", "three"):
        stream.step(text)
    stream.moment(moment(1.0))
    assert [one["text"] for one in lines(out)] == ["one"]


def test_every_fact_of_a_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From `run.started`, which the bundle is made with, over what the rollback writes, to `run.finished`."""

    def phases(run: guarded_run.GuardedRun, *_given: object) -> Ending:
        undo = {"do": "remove_toxic", "api": "http://127.0.0.1:1", "proxy": "vector_db", "toxic": "slow"}
        run._journal.append("undo.declared", fault="slow", undo=undo)
        return Ending("completed")

    verdict = Verdict(verdict="pass", exit_code=0, run=Run())
    monkeypatch.setattr(guarded_run.GuardedRun, "_with_evidence", phases)
    monkeypatch.setattr(guarded_run, "start_warden", lambda _bundle: SimpleNamespace(done=lambda: None))
    monkeypatch.setattr(runner, "_judged", lambda *_given: verdict)
    loaded, out, clock = load_experiment(find_experiment("steady")), io.StringIO(), Clock()
    options = RunOptions(tmp_path / "runs", tmp_path / "state")
    ended = runner.run_once(loaded, options, FreshStacks(), EventStream(out, clock), clock)
    facts = [one for one in lines(out) if one["event"] != "step"]
    assert facts == read(ended.bundle / "journal.jsonl")
    told = [one["event"] for one in facts]
    assert told[0] == "run.started" and told[-1] == "run.finished"
    assert told[1:-1] == [
        "undo.declared", "rollback.started", "fault.removed", "fault.verified_gone", "rollback.finished"
    ]  # fmt: skip
