"""What each toxic says it did: only what it did, with bytes, delay and times."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.proxy.toxics import Held, Stage
from chaos.proxy.toxics.bandwidth import Bandwidth
from chaos.proxy.toxics.latency import Latency
from chaos.proxy.toxics.limit_data import LimitData
from chaos.proxy.toxics.noop import Noop
from chaos.proxy.toxics.reset_peer import ResetPeer
from chaos.proxy.toxics.slicer import Slicer
from chaos.proxy.toxics.slow_close import SlowClose
from chaos.proxy.toxics.timeout import Timeout

CASES: list[tuple[type[Stage], dict[str, int], int, float, str]] = [
    (Latency, {"latency": 200}, 1000, 0.2, ""),
    (Bandwidth, {"rate": 2}, 1000, 0.5, ""),
    (SlowClose, {"delay": 300}, 0, 0.3, ""),
    (Timeout, {"timeout": 400}, 1000, 0.4, "dropped, then closed"),
    (Timeout, {"timeout": 0}, 1000, 0.0, "dropped"),
    (ResetPeer, {"timeout": 100}, 1000, 0.0, "dropped, then reset"),
    (Slicer, {"average_size": 125, "size_variation": 0, "delay": 1000}, 1000, 0.008, "8 pieces"),
    (LimitData, {"bytes": 400}, 600, 0.0, "closed after 400 bytes"),
]


@pytest.mark.parametrize(("kind", "attributes", "size", "delay_s", "note"), CASES)
def test_a_toxic_tells_what_it_did(
    line: Any, kind: type[Stage], attributes: dict[str, int], size: int, delay_s: float, note: str
) -> None:
    """A kilobyte and the end pass; the account has what was done to them."""
    stage = line.add(kind, **attributes)
    line.send(stage, b"x" * 1000)
    line.send(stage, b"")
    line.run_for(2)
    assert stage.struck_bytes == size
    assert stage.delay_s == pytest.approx(delay_s, abs=0.0015)
    assert stage.note == note
    assert stage.first_s is not None
    assert 100.0 <= stage.first_s <= stage.last_s


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        (Noop, {}),
        (Latency, {"latency": 0}),
        (LimitData, {"bytes": 1001}),
        (Slicer, {"average_size": 900, "size_variation": 100, "delay": 0}),
        (SlowClose, {"delay": 300}),
        (Timeout, {"timeout": 60_000}),
        (ResetPeer, {}),
    ],
)
def test_a_toxic_that_did_nothing_says_nothing(
    line: Any, kind: type[Stage], attributes: dict[str, int]
) -> None:
    """What passes as it came, or never came, was not struck."""
    stage = line.add(kind, **attributes)
    if kind not in (Timeout, ResetPeer):
        line.send(stage, b"x" * 1000)
    line.run_for(1)
    assert stage.first_s is None
    assert stage.struck_bytes == 0


def test_a_toxic_that_leaves_tells_what_it_held(line: Any) -> None:
    """What it let go early counts with the time that it was held."""
    stage = line.add(Latency, latency=1000)
    line.send(stage, b"x" * 10)
    line.run_for(0.4)
    stage.leave()
    assert (stage.struck_bytes, round(stage.delay_s, 6)) == (10, 0.4)


@pytest.mark.parametrize(
    ("kind", "attributes", "longest_s"),
    [(Latency, {"latency": 1000, "jitter": 0}, 1.0), (Bandwidth, {"rate": 1}, 1.7)],
)
def test_a_change_counts_no_byte_twice_and_no_wait_anew(
    line: Any, kind: type[Stage], attributes: dict[str, int], longest_s: float
) -> None:
    """What is held over a change of the toxic counts once, with all the time that it was held."""
    stage = line.add(kind, **attributes)
    for _ in range(3):
        line.send(stage, b"x" * 1000)
    line.run_for(0.4)
    stage.configure(attributes)
    line.run_for(0.3)
    stage.configure(attributes)
    line.run_for(10)
    assert len(line.data) == stage.struck_bytes == 3000
    assert stage.delay_s == pytest.approx(longest_s, abs=0.0015)


def test_single_bytes_cost_what_they_take(line: Any) -> None:
    """A client that sends bytes one by one is stopped long before these fill the memory."""
    stage = line.add(Latency, latency=60_000)
    sent = 0
    while not line.stopped:
        line.send(stage, b"x")
        sent += 1
    assert sent < 200_000


def test_all_stages_share_one_bound(new_line: Any) -> None:
    """Past what a server may hold, a stage makes do with a small room; its source stops and goes on again."""
    line = new_line()
    line.held = Held(most_bytes=200_000)
    first, second = line.add(Latency, latency=100), line.add(Latency, latency=200)
    line.send(first, b"x" * 150_000)
    assert not line.stopped
    line.send(second, b"x" * 60_000)
    assert not line.stopped, "a small room is always left"
    line.send(second, b"x" * 60_000)
    assert line.stopped == {second}
    line.run_for(1)
    assert not line.stopped
    assert line.held.bytes == 0
    assert len(line.data) == 270_000
