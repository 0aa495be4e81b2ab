from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chaos.proxy.toxics.latency import Latency


def test_each_chunk_goes_on_one_latency_after_it_came(line: Any) -> None:
    """The delay counts from the arrival of each chunk, so it is paid once, not per chunk."""
    stage = line.add(Latency, latency=100)
    for data in (b"a", b"b", b"c"):
        line.send(stage, data)
        line.run_for(0.01)
    line.run_for(1)
    assert line.came == [(0.1, b"a"), (0.11, b"b"), (0.12, b"c")]


def test_two_latencies_add(line: Any) -> None:
    """A chunk carries its new time onward."""
    second = line.add(Latency, latency=50)
    first = line.add(Latency, latency=100)
    first.next = second
    line.send(first, b"a")
    line.run_for(1)
    assert line.came == [(0.15, b"a")]


def test_two_latencies_add_to_less_on_a_steady_stream(line: Any) -> None:
    """What a chunk waited behind another does not count for the second, as measured on Toxiproxy."""
    second = line.add(Latency, latency=100)
    first = line.add(Latency, latency=100)
    first.next = second
    for data in (b"a", b"b", b"c"):
        line.send(first, data)
        line.run_for(0.05)
    line.run_for(1)
    assert line.came == [(0.2, b"a"), (0.2, b"b"), (0.25, b"c")]


def test_the_end_waits_for_what_is_before_it_and_no_longer(line: Any) -> None:
    """A close is not delayed by itself, but never overtakes data."""
    stage = line.add(Latency, latency=100)
    line.send(stage, b"a")
    line.send(stage, b"")
    line.run_for(1)
    assert line.came == [(0.1, b"a"), (0.1, b"")]
    line.send(stage, b"")
    assert line.came[-1] == (1.0, b"")


def test_leaving_hands_on_everything_at_once_in_order(line: Any) -> None:
    """A removed latency loses nothing."""
    stage = line.add(Latency, latency=1000)
    for data in (b"a", b"b", b""):
        line.send(stage, data)
    line.run_for(0.1)
    stage.leave()
    assert line.came == [(0.1, b"a"), (0.1, b"b"), (0.1, b"")]
    line.run_for(5)
    assert len(line.came) == 3


def test_a_change_holds_for_what_waits_counted_from_its_arrival(line: Any) -> None:
    """The chunk in hand goes on at once, those behind it get the new latency from when they came."""
    stage = line.add(Latency, latency=1000)
    line.send(stage, b"a")
    line.send(stage, b"b")
    line.run_for(0.1)
    stage.configure({"latency": 300, "jitter": 0})
    line.run_for(1)
    assert line.came == [(0.1, b"a"), (0.3, b"b")]


def test_too_much_held_stops_the_source(line: Any) -> None:
    """Past its room the stage stops the source, and lets it go once half of that is free."""
    stage = line.add(Latency, latency=100)
    chunk = b"x" * (Latency.room_bytes // 2 + 1)
    line.send(stage, chunk)
    assert not line.stopped
    line.send(stage, chunk)
    assert line.stopped == {stage}
    line.run_for(0.2)
    assert not line.stopped


@given(
    latency=st.integers(-10, 500),
    jitter=st.integers(-10, 600),
    gaps=st.lists(st.integers(0, 200), min_size=1, max_size=30),
)
def test_any_jitter_keeps_order_and_bounds(new_line: Any, latency: int, jitter: int, gaps: list[int]) -> None:
    """Bytes stay in order; none comes before latency - jitter or after the slowest so far."""
    line = new_line()
    stage = line.add(Latency, latency=latency, jitter=jitter)
    came_s = []
    for index, gap in enumerate(gaps):
        came_s.append(line.time_s - 100.0)
        line.send(stage, index.to_bytes(2, "big"))
        line.run_for(gap / 1000)
    line.run_for(5)
    assert [data for _, data in line.came] == [index.to_bytes(2, "big") for index in range(len(gaps))]
    least_s, most_s = max(0, latency - max(0, jitter)) / 1000, max(0, latency + max(0, jitter)) / 1000
    for index, (left_s, _) in enumerate(line.came):
        assert left_s >= came_s[index] + least_s - 0.001
        assert left_s <= came_s[index] + most_s + 0.001
