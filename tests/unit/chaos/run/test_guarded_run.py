"""How a run says that it ended, once whatever was left of it is cleaned up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from chaos.clock import SystemClock
from chaos.errors import EnvironmentFailure
from chaos.experiment import LoadedExperiment
from chaos.run import guarded_run
from chaos.run.journal import Journal
from chaos.run.options import RunOptions
from chaos.run.phases import Ending
from chaos.run.progress import SilentProgress
from chaos.run.stacks import FreshStacks
from chaos.safety.interruption import Interrupted
from chaos.safety.rollback import RollbackReport

Conduct = Callable[[Ending | BaseException], Ending]


class Dismissed:
    """A warden that is only ever dismissed."""

    def done(self) -> None:
        pass


@pytest.fixture
def problems() -> list[str]:
    """What the rollback could not undo."""
    return []


@pytest.fixture
def conduct(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problems: list[str]) -> Conduct:
    """A run whose phases come to this."""

    def run(outcome: Ending | BaseException) -> Ending:
        def phases(*_: Any) -> Ending:
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        monkeypatch.setattr(guarded_run, "start_warden", lambda _bundle: Dismissed())
        monkeypatch.setattr(
            guarded_run, "rollback", lambda bundle, **_by: RollbackReport(bundle, problems=tuple(problems))
        )
        monkeypatch.setattr(guarded_run.GuardedRun, "_with_evidence", phases)
        loaded, options = cast(LoadedExperiment, None), RunOptions()
        with Journal(tmp_path / "journal.jsonl") as journal:
            return guarded_run.GuardedRun(
                loaded, options, tmp_path, journal, SilentProgress(), SystemClock(), FreshStacks()
            ).conduct()

    return run


@pytest.mark.parametrize("outcome", [Ending("completed"), Interrupted("SIGINT"), EnvironmentFailure("why")])
def test_what_could_not_be_undone_is_an_error_that_says_so(
    conduct: Conduct, problems: list[str], outcome: Ending | BaseException
) -> None:
    """Neither 0 nor 130 may claim that faults were rolled back while one is in."""
    problems.append("the fault proxy hangs")
    ending = conduct(outcome)
    assert ending.status == "error"
    assert "the fault proxy hangs" in ending.message and "run it again" in ending.message


def test_a_run_that_is_clean_ends_as_it_came(conduct: Conduct) -> None:
    """The negative control: nothing is left, and the ending stays what it was."""
    assert conduct(Ending("completed")) == Ending("completed")
    assert conduct(Interrupted("SIGINT")) == Ending("interrupted", "stopped by a person (SIGINT)")
    assert conduct(EnvironmentFailure("why")) == Ending("error", "why")


@pytest.mark.parametrize("outcome", [Ending("completed"), EnvironmentFailure("the journeys ended early")])
def test_a_warden_that_acted_is_the_reason(
    conduct: Conduct, tmp_path: Path, outcome: Ending | BaseException
) -> None:
    """What a run misses after it stood still (its parts, its journeys) is a consequence."""
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append("rollback.started", by="warden")
    ending = conduct(outcome)
    assert ending.status == "error" and "stood still for more than 10 s" in ending.message
    assert conduct(Interrupted("SIGINT")).status == "interrupted"
