"""The watch over the stop conditions: what it sees of attempts and spans, and what it does when one holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chaos.errors import EnvironmentFailure
from chaos.experiment import StopCondition
from chaos.run.journal import Journal, read
from chaos.run.live import LiveAttempts
from chaos.run.stop_watch import BEYOND_PATIENCE_S, CUT_SHORT, StopWatch, span_segments
from slo.live import LiveSpan
from tests.clocks import SteppingClock

T0_S = 1_800_000_000.0
LOOK_S = 0.25
PATIENCE_S = 10.0


@dataclass
class Spans:
    """Spans that arrive when they end, half a second late."""

    clock: SteppingClock
    coming: list[LiveSpan] = field(default_factory=list)

    def drain(self) -> list[LiveSpan]:
        came = [one for one in self.coming if one.end_s <= self.clock.now_s - 0.5]
        self.coming = [one for one in self.coming if one not in came]
        return came

    def known_until(self, now_s: float) -> float:
        return now_s - 0.5


@dataclass
class Bench:
    """A watch over files that a test writes line by line in time."""

    folder: Path
    conditions: Sequence[StopCondition]
    clock: SteppingClock = field(default_factory=lambda: SteppingClock(T0_S))
    stopped_s: list[float] = field(default_factory=list)
    interrupted: list[str] = field(default_factory=list)
    lines: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.journal = Journal(self.folder / "journal.jsonl", self.clock)
        self.spans = Spans(self.clock)
        attempts, started = self.folder / "attempts.jsonl", self.folder / "started.jsonl"
        self.watch = StopWatch(
            self.conditions,
            LiveAttempts(attempts, started),
            self.spans,  # type: ignore[arg-type]
            self.journal,
            lambda: self.stopped_s.append(self.clock.now_s - T0_S),
            self.clock,
            from_s=T0_S,
            patience_s=PATIENCE_S,
            interrupt=self.interrupted.append,
        )

    def attempt(self, at_s: float, takes_s: float | None, outcome: str = "full", **facts: Any) -> None:
        """One that begins at an offset; without a duration it never ends."""
        trace = f"{len(self.lines):032x}"
        begun = {"trace_id": trace, "intended_start_s": T0_S + at_s, "start_s": T0_S + at_s, "stream": True}
        self.lines.append((at_s, "started.jsonl", begun))
        if takes_s is not None:
            ended = {"end_s": T0_S + at_s + takes_s, "latency_s": takes_s, "outcome": outcome, **begun}
            self.lines.append((at_s + takes_s, "attempts.jsonl", ended | facts))

    def span(self, segment: str, at_s: float, takes_s: float, *, failed: bool = False) -> None:
        self.spans.coming.append(LiveSpan(segment, T0_S + at_s + takes_s, takes_s, failed, False))

    def run(self, until_s: float) -> float | None:
        """Let time pass; the offset at which the watch acted."""
        while self.clock.now_s <= T0_S + until_s and self.watch.triggered is None:
            now_s = self.clock.now_s - T0_S
            for line in sorted((one for one in self.lines if one[0] <= now_s), key=lambda one: one[0]):
                with (self.folder / line[1]).open("a") as file:
                    file.write(json.dumps(line[2]) + "\n")
                self.lines.remove(line)
            self.watch.look()
            self.clock.sleep(LOOK_S)
        return self.stopped_s[0] if self.stopped_s else None


def condition(**changes: object) -> StopCondition:
    raw = {"segment": "journey", "indicator": "error_ratio", "above": "50%", "for": "5s"}
    return StopCondition.model_validate(raw | changes)


def test_what_it_saw_stands_in_the_journal_before_the_load_is_stopped(tmp_path: Path) -> None:
    """Condition, value, limit, samples, window and who was waiting: whoever asks why finds it there."""
    bench = Bench(tmp_path, [condition()])
    for tick in range(80):
        bench.attempt(tick / 4, 0.1, "full" if tick < 20 else "error")
    bench.attempt(8.0, None)
    fired_s = bench.run(20)
    [told] = [one for one in read(bench.journal.path) if one["event"] == "stop.triggered"]

    assert fired_s is not None and 9.0 <= fired_s <= 12.0
    assert told["condition"] == "journey error_ratio above 50 % for 5 s"
    assert told["value"] > 0.9 and (told["limit"], told["samples"]) == (0.5, 20)
    assert told["observed"].endswith("% of 20 samples within 5 s") and 1 <= told["window_s"] <= 5
    assert told["in_flight"] in (1, 2)
    assert bench.watch.triggered is not None and bench.interrupted == []


def test_a_segment_is_watched_by_its_spans_alone(tmp_path: Path) -> None:
    """No attempt ever ends, no generator lives: slow searches stop the run all the same."""
    slow = condition(segment="search", indicator="p95", above="1s")
    bench = Bench(tmp_path, [slow])
    for tick in range(80):
        bench.span("search", tick / 4, 2.0 if tick >= 20 else 0.05)
        bench.span("generate", tick / 4, 9.0)
    fired_s = bench.run(30)

    assert fired_s is not None and 5.0 + 2.0 + 5.0 - 1.0 <= fired_s <= 5.0 + 2.0 + 5.0 + 2.0


def test_healthy_spans_stop_nothing(tmp_path: Path) -> None:
    """The negative control: the same run with quick searches goes to its end."""
    bench = Bench(tmp_path, [condition(segment="search", indicator="p95", above="1s"), condition()])
    for tick in range(80):
        bench.span("search", tick / 4, 0.05)
        bench.attempt(tick / 4, 0.2)
    assert bench.run(25) is None and read(bench.journal.path) == []


def test_attempts_that_hang_do_not_hide_an_outage(tmp_path: Path) -> None:
    """They have no line among those that ended; beyond their patience each is an error."""
    bench = Bench(tmp_path, [condition()])
    for tick in range(160):
        bench.attempt(tick / 4, 0.2 if tick < 20 else None)
    fired_s = bench.run(40)
    hang_s = 5.0 + PATIENCE_S + BEYOND_PATIENCE_S

    assert fired_s is not None and hang_s + 5.0 - 1.0 <= fired_s <= hang_s + 5.0 + 2.0


def test_who_waits_longer_than_the_limit_is_too_late_at_once(tmp_path: Path) -> None:
    """A latency is known to be above its limit when the limit has passed, not when patience has."""
    bench = Bench(tmp_path, [condition(indicator="p95", above="2s")])
    for tick in range(120):
        bench.attempt(tick / 4, 0.2 if tick < 20 else PATIENCE_S, "full" if tick < 20 else "timeout")
    fired_s = bench.run(30)

    assert fired_s is not None and 5.0 + 2.0 + 5.0 - 1.0 <= fired_s <= 5.0 + 2.0 + 5.0 + 2.0


def test_a_generator_that_stands_still_is_no_outage(tmp_path: Path) -> None:
    """What it had under way hangs because it hangs; nobody can say how the service would have answered."""
    bench = Bench(tmp_path, [condition(), condition(indicator="p95", above="1s")])
    for tick in range(40):
        bench.attempt(tick / 20, 0.3 if tick < 30 else None)
    assert bench.run(60) is None and len(bench.watch._attempts.in_flight()) == 10


def test_a_generator_that_dies_in_an_outage_does_not_save_it(tmp_path: Path) -> None:
    """The breach had begun; that nothing comes any more is no recovery."""
    bench = Bench(tmp_path, [condition(segment="request", **{"for": "8s"})])
    for tick in range(16):
        bench.span("request", 5 + tick / 4, 0.1, failed=True)
    fired_s = bench.run(60)

    assert fired_s is not None and 12.0 <= fired_s <= 15.0


def test_spans_from_before_the_load_do_not_count(tmp_path: Path) -> None:
    """The questions of the steady-state check are nobody's users."""
    bench = Bench(tmp_path, [condition(segment="request", **{"for": "1s"})])
    for tick in range(30):
        bench.span("request", -5 + tick / 10, 0.1, failed=True)
    assert bench.run(10) is None


@pytest.mark.parametrize(
    ("indicator", "above", "facts", "fires"),
    [
        ("degraded_ratio", "50%", {"outcome": "degraded"}, True),
        ("degraded_ratio", "50%", {"outcome": "full"}, False),
        ("dropped_ratio", "10%", {"outcome": None, "dropped": True, "end_s": None}, True),
        ("dropped_ratio", "10%", {"outcome": "error"}, False),
        ("error_ratio", "50%", {"outcome": "refused"}, True),
        ("ttft_p95", "1s", {"first_token_s": 3.0}, True),
        ("ttft_p95", "1s", {"first_token_s": 0.5}, False),
        ("ttft_p95", "1s", {"outcome": "truncated", "first_token_s": 0.5}, True),
        ("ttft_p95", "1s", {"stream": False, "first_token_s": None}, False),
        ("p50", "1s", {"outcome": "error"}, True),
    ],
)
def test_each_indicator_sees_what_it_is_about(
    tmp_path: Path, indicator: str, above: str, facts: dict[str, Any], fires: bool
) -> None:
    """Degraded, dropped, late by its first token, without an answer: each by the line of the attempt."""
    bench = Bench(tmp_path, [condition(indicator=indicator, above=above)])
    for tick in range(60):
        at_s = tick / 4
        shifted = dict(facts)
        if shifted.get("first_token_s") is not None:
            shifted["first_token_s"] += T0_S + at_s
        bench.attempt(at_s, 0.6, **shifted)
    assert (bench.run(15) is not None) is fires


def test_a_wait_for_a_fault_is_cut_short(tmp_path: Path) -> None:
    """Where the run waits for a part to start again, it is called away; elsewhere it looks by itself."""
    bench = Bench(tmp_path, [condition()])
    for tick in range(80):
        bench.attempt(tick / 4, 0.2, "error")
    with bench.watch.cutting_short():
        bench.run(20)
        assert bench.interrupted == [CUT_SHORT]
    with bench.watch.cutting_short():
        assert bench.interrupted == [CUT_SHORT]


def test_a_watch_that_fails_ends_the_run(tmp_path: Path) -> None:
    """A condition that nobody looks at is none."""
    bench = Bench(tmp_path, [condition()])
    bench.watch.require()
    bench.spans.drain = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    bench.watch.start()
    bench.watch.join(30)

    with pytest.raises(EnvironmentFailure, match="ZeroDivisionError"):
        bench.watch.require()


def test_only_segments_that_are_asked_about_need_spans() -> None:
    """Without a condition on a segment no span is looked at while the run goes."""
    assert span_segments([condition()]) == frozenset()
    assert span_segments([condition(), condition(segment="search")]) == {"search"}
