"""The history across runs."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from slo.history import BreakingPoint, History, HistoryBusyError, RecordedCampaign, fingerprint


def test_a_verdict_is_kept_once_and_whole(healthy, judge, tmp_path: Path):
    """Judging a run again replaces its row; the document reads back byte for byte."""
    verdict = judge(healthy)
    history = History(tmp_path / "runs" / "history.duckdb")
    assert history.verdicts() == ()
    history.record(verdict, tmp_path)
    history.record(verdict, tmp_path)
    (row,) = history.verdicts("made")
    assert (row.run_id, row.verdict, row.fingerprint) == ("r1", "pass", fingerprint(verdict))
    assert history.verdict_of("r1").to_json() == verdict.to_json()
    assert history.verdicts("other") == ()


def test_breaking_points_are_listed_newest_first(tmp_path: Path):
    """An end of the bracket that was not found stays unknown."""
    history = History(tmp_path / "history.duckdb")
    older = BreakingPoint(1.0, "spike", "slow.latency", 0.5, 1.0, "s", "answered", "f", ("a", "b"))
    newer = BreakingPoint(2.0, "spike", "slow.latency", 4.0, None, "s", None, "f")
    history.record_breaking_point(older)
    history.record_breaking_point(newer)
    assert history.breaking_points("spike") == (newer, older)
    assert history.breaking_points("steady") == ()


def test_runs_that_belonged_together_are_kept_as_one(tmp_path: Path):
    """The newest first; recording one again replaces it."""
    history = History(tmp_path / "history.duckdb")
    assert history.campaigns() == ()
    first = RecordedCampaign("c1", "ci", 1.0, "pass", "runs/c1.campaign", "4 of 4", ("r1", "r2"))
    second = RecordedCampaign("c2", "spike", 2.0, "inconclusive", "runs/c2.campaign", "1 of 2")
    for one in (first, second, first):
        history.record_campaign(one)
    assert history.campaigns() == (second, first)


def test_another_question_or_machine_is_not_comparable(healthy, judge):
    """The fingerprint changes with the phases, the faults and the overrides, not with the outcome."""
    first = judge(healthy)
    healthy.attempts[300]["outcome"] = "error"
    assert fingerprint(judge(healthy)) == fingerprint(first)
    healthy.event("run.started")["overrides"] = ["service.resilience=off"]
    assert fingerprint(judge(healthy)) != fingerprint(first)


def test_a_history_that_stays_busy_is_named(tmp_path: Path, monkeypatch):
    """Waiting ends with a message, on a clock that is passed in."""
    now = [0.0]

    def refuse(_path: str) -> None:
        raise duckdb.IOException("locked")

    monkeypatch.setattr(duckdb, "connect", refuse)
    history = History(tmp_path / "history.duckdb", lambda: now[0], lambda s: now.__setitem__(0, now[0] + s))
    with pytest.raises(HistoryBusyError, match=r"history\.duckdb"):
        history.record_breaking_point(BreakingPoint(1.0, "a", "b", None, None, "s", None, "f"))
    assert now[0] >= 5.0
