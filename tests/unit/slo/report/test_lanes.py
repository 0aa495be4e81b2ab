"""The lanes: what stands in them and which captions have room."""

from __future__ import annotations

from dataclasses import replace

from slo.report.lanes import Lane, lanes_of
from slo.timeline import BreakerState, FaultWindow, Timeline


def lane(timeline: Timeline, name: str) -> Lane:
    return next(lane for lane in lanes_of(timeline, 150.0) if lane.name == name)


def test_lanes_are_phases_then_faults_then_breakers(timeline: Timeline) -> None:
    """Top to bottom: what was planned, what was done, what answered."""
    assert [lane.name for lane in lanes_of(timeline, 150.0)] == ["phase", "fault", "llm", "vector_db"]


def test_a_caption_is_only_drawn_where_it_fits(timeline: Timeline) -> None:
    """The ten seconds of warm-up are captioned on a wide screen and bare on a phone."""
    warmup, baseline, *_ = lane(timeline, "phase").bars
    assert (warmup.wide.text, warmup.narrow.text) == ("warmup", "")
    assert (baseline.wide.text, baseline.narrow.text) == ("baseline · 4/s", "baseline")
    assert "not judged" in warmup.name


def test_a_changing_rate_is_told_in_its_bar(timeline: Timeline) -> None:
    """How it changed, not its mean alone; where there is no room, in the tooltip."""
    ramp = replace(timeline.phases[-1], rate_told="2 to 20")
    bar = lanes_of(replace(timeline, phases=(*timeline.phases[:-1], ramp)), 150.0)[0].bars[-1]
    assert "on average (2 to 20)" in bar.name
    assert "average" not in lanes_of(timeline, 150.0)[0].bars[-1].name


def test_a_short_fault_is_named_beside_its_bar(timeline: Timeline) -> None:
    """The name stands to the right where there is room, else to the left, never over the edge."""
    early = FaultWindow("slow-vector-db", "vector_db", "latency", 10.0, 12.0)
    late = FaultWindow("slow-vector-db", "vector_db", "latency", 146.0, 150.0)
    (right,) = lane(replace(timeline, faults=(early,)), "fault").bars
    (left,) = lane(replace(timeline, faults=(late,)), "fault").bars
    assert (right.wide.text, right.wide.at_s, right.wide.align) == ("slow-vector-db", 12.0, "left")
    assert (left.wide.text, left.wide.at_s, left.wide.align) == ("slow-vector-db", 146.0, "right")
    assert right.wide.ink == left.wide.ink == "ink"


def test_breaker_states_differ_by_word_and_shade(timeline: Timeline) -> None:
    """Closed, open and half-open have shades of their own, and each bar's tooltip says the state."""
    states = {bar.name: bar.shade for bar in lane(timeline, "vector_db").bars}
    assert set(states) == {
        "breaker vector_db: closed",
        "breaker vector_db: open",
        "breaker vector_db: half-open",
    }
    assert len(set(states.values())) == 3


def test_unknown_states_and_long_names_are_drawn_too(timeline: Timeline) -> None:
    """A foreign service's breaker may say `forced_open` and be called anything."""
    name = "a-breaker-with-a-very-long-name"
    odd = replace(timeline, breakers={name: (BreakerState("forced_open", 0.0, 150.0),)})
    drawn = lanes_of(odd, 150.0)[-1]
    assert len(drawn.name) <= 11
    assert drawn.bars[0].name == f"breaker {name}: forced-open"
