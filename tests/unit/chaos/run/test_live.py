"""The live view of attempts, and the stop conditions that are judged by it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chaos.experiment import StopCondition
from chaos.run.live import LiveAttempts
from chaos.run.stop_conditions import MIN_ATTEMPTS, StopWatch


def add(path: Path, *outcomes: str, at_s: float) -> None:
    with path.open("a") as file:
        for outcome in outcomes:
            file.write(json.dumps({"outcome": outcome, "end_s": at_s, "latency_s": 0.2}) + "\n")


def condition() -> StopCondition:
    raw = {"segment": "journey", "indicator": "error_ratio", "above": "50%", "for": "10s"}
    return StopCondition.model_validate(raw)


def test_figures_cover_the_window_only(tmp_path: Path) -> None:
    """What happened before the window does not colour the picture of now."""
    path = tmp_path / "attempts.jsonl"
    live = LiveAttempts(path)
    add(path, "error", "error", at_s=90.0)
    add(path, "full", "degraded", "degraded", "error", at_s=99.0)
    live.poll(100.0)

    figures = live.figures(100.0, 5.0)

    assert (figures.ended, figures.error_ratio, figures.degraded_ratio) == (4, 0.25, 0.5)
    assert live.figures(100.0, 20.0).error_ratio == pytest.approx(0.5)


def test_a_half_written_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    """A line that is being written is neither lost nor counted twice."""
    path = tmp_path / "attempts.jsonl"
    live = LiveAttempts(path)
    line = json.dumps({"outcome": "full", "end_s": 1.0, "latency_s": 0.1}) + "\n"
    path.write_text(line[:10])
    live.poll(1.0)
    assert live.total == 0
    path.write_text(line)
    live.poll(1.0)
    live.poll(1.0)

    assert live.total == 1


def test_a_dropped_arrival_is_an_error(tmp_path: Path) -> None:
    """A user who was never let in did not get an answer."""
    path = tmp_path / "attempts.jsonl"
    path.write_text(json.dumps({"dropped": True}) + "\n")
    live = LiveAttempts(path)
    live.poll(50.0)

    assert live.dropped == 1
    assert live.figures(50.0, 5.0).error_ratio == 1.0


def test_no_attempts_are_no_errors(tmp_path: Path) -> None:
    """Nothing ended yet is not an error, and no percentile is made up."""
    live = LiveAttempts(tmp_path / "none.jsonl")
    live.poll(0.0)

    assert live.figures(0.0, 5.0).error_ratio == 0.0
    assert live.figures(0.0, 5.0).p95_s is None


def test_a_stop_condition_fires_after_it_held_for_its_whole_time(tmp_path: Path) -> None:
    """Ten bad seconds stop a run; nine do not."""
    path = tmp_path / "attempts.jsonl"
    live, watch = LiveAttempts(path), StopWatch([condition()])
    for second in range(10):
        add(path, *["error"] * MIN_ATTEMPTS, at_s=float(second))
        live.poll(float(second))
        assert watch.look(live, float(second)) is None
    add(path, *["error"] * MIN_ATTEMPTS, at_s=10.0)
    live.poll(10.0)

    triggered = watch.look(live, 10.0)

    assert triggered is not None
    assert "error_ratio above 50 %" in triggered.condition
    assert "100 %" in triggered.observed


def test_one_good_look_starts_the_time_again(tmp_path: Path) -> None:
    """A service that recovers in between is not stopped."""
    path = tmp_path / "attempts.jsonl"
    live, watch = LiveAttempts(path), StopWatch([condition()])
    for second in range(16):
        outcome = "full" if second in (8, 9) else "error"
        add(path, *[outcome] * (50 if outcome == "full" else MIN_ATTEMPTS), at_s=float(second))
        live.poll(float(second))
        assert watch.look(live, float(second)) is None


def test_too_few_attempts_never_stop_a_run(tmp_path: Path) -> None:
    """One failed attempt in an idle service is not a reason to stop."""
    path = tmp_path / "attempts.jsonl"
    live, watch = LiveAttempts(path), StopWatch([condition()])
    add(path, "error", at_s=0.0)
    live.poll(0.0)

    assert [watch.look(live, float(second)) for second in range(4)] == [None] * 4
