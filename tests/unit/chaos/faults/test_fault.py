from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.control.controls import Controls
from chaos.control.fault_proxy import Toxic
from chaos.control.toxiproxy import Toxiproxy
from chaos.faults import parse_fault
from chaos.faults.fault import SEGMENT_BEHIND, ToxicFault


@pytest.mark.parametrize(
    ("raw", "type_", "attributes"),
    [
        (
            {"kind": "latency", "latency": "2s", "jitter": "200ms"},
            "latency",
            {"latency": 2000, "jitter": 200},
        ),
        ({"kind": "timeout", "timeout": "3s"}, "timeout", {"timeout": 3000}),
        ({"kind": "reset", "after": "50ms"}, "reset_peer", {"timeout": 50}),
        ({"kind": "bandwidth", "rate": 7}, "bandwidth", {"rate": 7}),
        ({"kind": "slow_close", "delay": "1s"}, "slow_close", {"delay": 1000}),
        (
            {"kind": "slicer", "average_size": 9, "size_variation": 3, "delay": "10us"},
            "slicer",
            {"average_size": 9, "size_variation": 3, "delay": 10},
        ),
        ({"kind": "limit_data", "bytes": 5}, "limit_data", {"bytes": 5}),
    ],
    ids=lambda each: each["kind"] if isinstance(each, dict) and "kind" in each else "",
)
def test_a_fault_is_this_toxic(raw: dict[str, Any], type_: str, attributes: dict[str, int]) -> None:
    """Seconds become Toxiproxy's units; the toxic carries the experiment's name for it."""
    fault = parse_fault("mine", {"on": "llm", "stream": "upstream", **raw})
    assert isinstance(fault, ToxicFault)
    assert fault.toxic("mine") == Toxic("mine", type_, "upstream", 1.0, attributes)


@pytest.mark.parametrize("on", list(SEGMENT_BEHIND))
def test_faults_that_break_calls_expect_errors(on: str) -> None:
    """What refuses, hangs or resets must show as errors on the dependency's segment."""
    for kind in ("down", "timeout", "reset"):
        assert parse_fault("x", {"on": on, "kind": kind}).expects() == {
            "segment": SEGMENT_BEHIND[on],
            "errors": True,
        }


@given(latency=st.integers(1, 10_000), jitter=st.integers(0, 10_000))
def test_the_expected_shift_is_one_that_spans_surely_show(latency: int, jitter: int) -> None:
    """80 % of it is at most what nineteen delays in twenty reach; with little jitter it is all of it."""
    jitter = min(jitter, latency)
    raw = {"on": "llm", "kind": "latency", "latency": f"{latency}ms", "jitter": f"{jitter}ms"}
    expects = parse_fault("x", raw).expects()
    assert expects is not None
    assert expects["segment"] == "generate"
    assert 0.8 * expects["shift_s"] <= (latency - 0.9 * jitter) / 1000 + 1e-6
    if jitter <= 0.2 * latency:
        assert expects["shift_s"] == pytest.approx(latency / 1000)


def test_undo_records_are_data_enough() -> None:
    """Anyone with the record can undo: the toxic by name, or the closed port."""
    at = Controls(Toxiproxy("http://h:1"))
    slow = parse_fault("slow", {"on": "llm", "kind": "latency", "latency": "1s"})
    assert slow.undo(at, "slow") == {
        "do": "remove_toxic",
        "api": "http://h:1",
        "proxy": "llm",
        "toxic": "slow",
    }
    down = parse_fault("down", {"on": "vector_db", "kind": "down"})
    assert down.undo(at, "down") == {"do": "enable", "api": "http://h:1", "proxy": "vector_db"}
