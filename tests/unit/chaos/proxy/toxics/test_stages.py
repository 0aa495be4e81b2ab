"""The small toxics: one or two rules each."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.proxy.toxics import stage_kinds
from chaos.proxy.toxics.bandwidth import Bandwidth
from chaos.proxy.toxics.limit_data import LimitData
from chaos.proxy.toxics.reset_peer import ResetPeer
from chaos.proxy.toxics.slow_close import SlowClose
from chaos.proxy.toxics.timeout import Timeout


def test_every_toxic_of_toxiproxy_is_there() -> None:
    """The files of the package register themselves, and beside Toxiproxy's there is one of our own."""
    expected = "bandwidth latency latency_distribution limit_data noop reset_peer slicer slow_close timeout"
    assert sorted(stage_kinds()) == expected.split()


def test_bandwidth_takes_the_time_the_bytes_need(line: Any) -> None:
    """250 KB at 1000 KB/s leave in tenths of a second, the last when its own bytes are through."""
    stage = line.add(Bandwidth, rate=1000)
    line.send(stage, b"x" * 250_000)
    line.send(stage, b"")
    line.run_for(1)
    sent = [(at_s, len(data)) for at_s, data in line.came]
    assert sent == [(0.1, 100_000), (0.2, 100_000), (0.25, 50_000), (0.25, 0)]


def test_bandwidth_gives_no_credit_for_idling(line: Any) -> None:
    """After a pause the rate is what it was."""
    stage = line.add(Bandwidth, rate=1)
    line.send(stage, b"x" * 10)
    line.run_for(10)
    line.send(stage, b"x" * 10)
    line.run_for(1)
    assert [at_s for at_s, _ in line.came] == [0.01, 10.01]


@pytest.mark.parametrize("rate", [0, -1])
def test_bandwidth_without_a_rate_is_refused(rate: int) -> None:
    """A rate that never forwards, or that kills Toxiproxy, is refused."""
    assert "at least 1" in (Bandwidth.refuse({"rate": rate}) or "")


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=50), max_size=8),
    limit=st.integers(-5, 200),
    raised=st.integers(0, 100),
)
def test_limit_data_passes_exactly_so_many_bytes(
    new_line: Any, chunks: list[bytes], limit: int, raised: int
) -> None:
    """A prefix of just the limit passes; then the connection is closed, not before."""
    line = new_line()
    stage = line.add(LimitData, bytes=limit)
    for chunk in chunks:
        if line.closed_at_s is None:
            line.send(stage, chunk)
    sent = b"".join(chunks)
    assert line.data == sent[: max(0, limit)]
    assert (line.closed_at_s is not None) == (len(sent) >= limit and bool(chunks))
    if line.closed_at_s is None:
        stage.configure({"bytes": limit + raised})
        line.send(stage, b"y" * 500)
        assert len(line.data) == max(0, limit + raised)


def test_timeout_closes_after_silence_and_not_before(line: Any) -> None:
    """Every chunk starts the timer anew."""
    stage = line.add(Timeout, timeout=100)
    for _ in range(5):
        line.run_for(0.09)
        line.send(stage, b"x")
    assert line.closed_at_s is None
    line.run_for(0.2)
    assert line.closed_at_s == pytest.approx(100.55)
    assert line.came == []


def test_timeout_zero_never_closes_and_lets_the_end_pass(line: Any) -> None:
    """A black hole for bytes, not for hanging up."""
    stage = line.add(Timeout, timeout=0)
    line.send(stage, b"x")
    line.run_for(3600)
    assert line.closed_at_s is None
    line.send(stage, b"")
    assert line.came == [(3600.0, b"")]


def test_reset_peer_waits_from_the_first_bytes(line: Any) -> None:
    """Nothing passes; the reset comes once, its time after the first chunk."""
    stage = line.add(ResetPeer, timeout=100)
    line.run_for(1)
    assert line.reset_at_s is None
    line.send(stage, b"x")
    line.run_for(0.05)
    line.send(stage, b"y")
    line.run_for(1)
    assert line.reset_at_s == pytest.approx(101.1)
    assert line.came == []


def test_a_triggered_reset_peer_resets_when_it_leaves(line: Any) -> None:
    """It has lost bytes already, so the connection cannot just go on; an idle one can."""
    idle = line.add(ResetPeer, timeout=100)
    idle.leave()
    assert line.reset_at_s is None
    triggered = line.add(ResetPeer, timeout=100)
    line.send(triggered, b"x")
    triggered.leave()
    assert line.reset_at_s == 100.0


def test_slow_close_holds_the_end_until_it_leaves(line: Any) -> None:
    """Data is not delayed, the end is; leaving lets it go at once."""
    stage = line.add(SlowClose, delay=500)
    line.send(stage, b"x")
    line.send(stage, b"")
    line.run_for(0.1)
    assert line.came == [(0.0, b"x")]
    stage.leave()
    assert line.came == [(0.0, b"x"), (0.1, b"")]


def test_slow_close_ends_once(line: Any) -> None:
    """A stream that a toxic before it cuts after its end waits no longer, and ends once."""
    stage = line.add(SlowClose, delay=100)
    line.send(stage, b"")
    line.run_for(0.05)
    line.send(stage, b"")
    line.run_for(1)
    assert line.came == [(0.1, b"")]
