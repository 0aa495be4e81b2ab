"""The live view of attempts: those that ended, those that began, and who is believed about them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chaos.run.live import LiveAttempts


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "attempts.jsonl", tmp_path / "started.jsonl"


def add(path: Path, *outcomes: str, at_s: float) -> None:
    with path.open("a") as file:
        for outcome in outcomes:
            file.write(json.dumps({"outcome": outcome, "end_s": at_s, "latency_s": 0.2}) + "\n")


def begin(path: Path, trace_id: str, at_s: float) -> None:
    with path.open("a") as file:
        line = {"trace_id": trace_id, "intended_start_s": at_s, "start_s": at_s + 0.01, "stream": True}
        file.write(json.dumps(line) + "\n")


def end(path: Path, trace_id: str, at_s: float) -> None:
    with path.open("a") as file:
        line = {"trace_id": trace_id, "outcome": "full", "end_s": at_s, "intended_start_s": at_s - 1.0}
        file.write(json.dumps(line) + "\n")


def test_figures_cover_the_window_only(files: tuple[Path, Path]) -> None:
    """What happened before the window does not colour the picture of now."""
    live = LiveAttempts(files[0])
    add(files[0], "error", "error", at_s=91.0)
    add(files[0], "full", "degraded", "cached", "error", at_s=99.0)
    live.poll(100.0)

    figures = live.figures(100.0, 5.0)

    assert (figures.ended, figures.error_ratio, figures.degraded_ratio) == (4, 0.25, 0.5)
    assert live.figures(100.0, 10.0).error_ratio == pytest.approx(0.5)


def test_a_half_written_line_is_read_when_it_is_whole(files: tuple[Path, Path]) -> None:
    """A line that is being written is neither lost nor counted twice."""
    live = LiveAttempts(files[0])
    line = json.dumps({"outcome": "full", "end_s": 1.0, "latency_s": 0.1}) + "\n"
    files[0].write_text(line[:10])
    assert live.poll(1.0) == []
    files[0].write_text(line)
    assert len(live.poll(1.0)) == 1
    assert live.poll(1.0) == []

    assert live.total == 1


def test_a_dropped_arrival_is_an_error(files: tuple[Path, Path]) -> None:
    """A user who was never let in did not get an answer."""
    files[0].write_text(json.dumps({"dropped": True}) + "\n")
    live = LiveAttempts(files[0])
    live.poll(50.0)

    assert live.dropped == 1
    assert live.figures(50.0, 5.0).error_ratio == 1.0


def test_no_attempts_are_no_errors(files: tuple[Path, Path]) -> None:
    """Nothing ended yet is not an error, and no percentile is made up."""
    live = LiveAttempts(*files)
    live.poll(0.0)

    assert live.figures(0.0, 5.0).error_ratio == 0.0
    assert live.figures(0.0, 5.0).p95_s is None


def test_whoever_began_and_did_not_end_is_in_flight(files: tuple[Path, Path]) -> None:
    """Also when beginning and end were read in the same moment, or the end in a later one."""
    live = LiveAttempts(*files)
    for number in range(3):
        begin(files[1], f"t{number}", at_s=10.0 + number)
    end(files[0], "t0", at_s=12.5)
    live.poll(13.0)
    assert [one.trace_id for one in live.in_flight()] == ["t1", "t2"]
    end(files[0], "t1", at_s=13.5)
    live.poll(14.0)

    assert [one.trace_id for one in live.in_flight()] == ["t2"]
    figures = live.figures(14.0, 2.5)
    assert (figures.in_flight, figures.begun_per_s) == (1, pytest.approx(1 / 2.5))


def test_the_generator_is_heard_of_by_every_line(files: tuple[Path, Path]) -> None:
    """Its last word, begun or ended, tells until when its silence about the others means something."""
    live = LiveAttempts(*files)
    begin(files[1], "t0", at_s=10.0)
    live.poll(10.0)
    assert live.heard_s == pytest.approx(10.01)
    end(files[0], "t0", at_s=15.0)
    live.poll(30.0)
    assert live.heard_s == 15.0


def test_what_is_no_record_is_passed_over(files: tuple[Path, Path]) -> None:
    """A torn line, a list or a beginning without its time stops nobody from watching."""
    files[0].write_text('{"outcome": "fu\n[1]\n')
    files[1].write_text('{"trace_id": "t0"}\n{"start_s": 1, "intended_start_s": 1}\nnull\n')
    live = LiveAttempts(*files)

    assert live.poll(1.0) == [] and live.in_flight() == []
