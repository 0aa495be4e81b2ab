"""What a schedule wants is a function of time alone, and what cannot be is refused before anything starts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.control.builtin_proxy import BuiltinProxy
from chaos.control.controls import Controls
from chaos.control.fault_proxy import FaultProxyError, Toxic
from chaos.control.toxiproxy import Toxiproxy
from chaos.faults import parse_fault
from chaos.faults.fault import ToxicFault
from chaos.faults.over_time import Flap, OverTime, Ramp


def parsed(**raw: Any) -> ToxicFault:
    fault = parse_fault("slow", {"on": "vector_db", "kind": "latency", **raw})
    assert isinstance(fault, ToxicFault)
    return fault


@given(st.floats(0.5, 600), st.floats(0.5, 600), st.floats(0, 10_000))
def test_a_flapping_fault_is_in_for_on_and_out_for_off(on_s: float, off_s: float, elapsed_s: float) -> None:
    """It begins with being in, and each turn is like the first."""
    flap, turn_s = Flap(on_s, off_s), on_s + off_s
    into_turn_s = elapsed_s - turn_s * (elapsed_s // turn_s)
    assert flap.is_in(elapsed_s) == (into_turn_s < on_s)
    assert flap.is_in(0.0) and not flap.is_in(on_s)


ENDS = st.one_of(
    st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)),
    st.tuples(st.integers(0, 600_000), st.integers(0, 600_000)).map(lambda ms: (ms[0] / 1e3, ms[1] / 1e3)),
)


@given(ENDS, st.floats(1, 600))
def test_a_ramp_goes_from_one_end_to_the_other_and_never_back(
    ends: tuple[float, float], over_s: float
) -> None:
    """It begins at FROM, is at TO when `over` has passed and stays there, and keeps within both."""
    ramp = Ramp("latency", *ends, over_s)
    values = [ramp.value(ramp.step_at(second)) for second in range(int(over_s) + 3)]
    assert (values[0], values[-1]) == ends
    assert values == sorted(values, reverse=ends[0] > ends[1])
    assert ramp.value(ramp.step_at(over_s + 1)) == ramp.value(ramp.step_at(1e9)) == ends[1]
    assert all(type(value) is type(ends[0]) for value in values)


@given(st.floats(0, 1000))
def test_a_fault_without_a_part_of_a_schedule_ignores_it(elapsed_s: float) -> None:
    """No flap: always in. No ramp: always its first step."""
    assert OverTime(ramp=Ramp("rate", 1, 9, 5.0)).is_in(elapsed_s)
    assert OverTime(flap=Flap(1, 1)).step_at(elapsed_s) == 0


def test_a_ramp_is_a_toxic_that_changes() -> None:
    """Whole milliseconds at every step; the toxic is ours, since Toxiproxy's lets go what it holds."""
    fault = parsed(ramp={"latency": ["0s", "4s"], "over": "30s"})
    assert fault.at_step(0).toxic("slow").attributes["latency"] == 0
    steps = [fault.at_step(step).toxic("slow") for step in range(31)]
    assert steps[1] == Toxic(
        "slow",
        "latency_distribution",
        "downstream",
        1.0,
        {"latency": 133, "spread": 0, "distribution": "uniform"},
    )
    assert steps[-1].attributes["latency"] == 4000
    assert (fault.at_step(0).expects(), (fault.at_step(30).expects() or {})["shift_s"]) == (None, 4.0)
    assert fault.expects() == fault.at_step(30).expects() and fault.parameters()["latency_s"] == 4.0
    down = parsed(ramp={"latency": ["4s", "0s"], "over": "30s"})
    assert down.expects() == fault.expects() and down.at_step(30).expects() is None


def test_a_ramp_of_whole_numbers_keeps_them_whole() -> None:
    """KB/s are counted, not measured."""
    fault = parse_fault("thin", {"on": "llm", "kind": "bandwidth", "ramp": {"rate": [1000, 7], "over": "9s"}})
    assert isinstance(fault, ToxicFault)
    assert [fault.at_step(step).attributes()["rate"] for step in (0, 1, 9, 99)] == [1000, 890, 7, 7]
    assert fault.over_time is not None
    assert fault.over_time.sentences() == {"ramp": "rate from 1000 to 7 over 9 s"}


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ({"latency": "1s", "flap": {"on": "2s"}}, r"write \{on: 2s, off: 3s\}"),
        ({"latency": "1s", "flap": "2s"}, r"write \{on: 2s, off: 3s\}"),
        ({"latency": "1s", "flap": {"on": "2s", "off": "100ms"}}, r"flap.off .* 500 ms to 10 m"),
        ({"latency": "1s", "flap": {"on": 2, "off": "1s"}}, "2 is not a duration"),
        ({"flap": {"on": "2s", "off": "1s"}}, "latency is missing"),
        ({"ramp": {"latency": ["1s", "2s"]}}, "over: 30s"),
        ({"ramp": {"latency": ["1s", "2s"], "over": "20m"}}, "1 s to 10 m"),
        ({"ramp": {"latency": ["1s"], "over": "20s"}}, r"\[FROM, TO\]"),
        ({"ramp": {"latency": ["1s", "1s"], "over": "20s"}}, "leave the ramp away"),
        ({"ramp": {"latency": ["1s", "1h"], "over": "20s"}}, "out of bounds"),
        ({"ramp": {"latency": ["-1s", "1s"], "over": "20s"}}, "out of bounds"),
        ({"ramp": {"latency": ["1s", {"normal": ["1s", "1s"]}], "over": "20s"}}, "plain values"),
        ({"ramp": {"latency": ["1s", "2s"], "jitter": ["0s", "1s"], "over": "20s"}}, "one parameter"),
        ({"ramp": {"jitter": ["0s", "1s"], "over": "20s"}}, "cannot be changed .* allowed: latency"),
        ({"latency": "1s", "ramp": {"latency": ["1s", "2s"], "over": "20s"}}, "stands in the ramp already"),
        ({"jitter": "1s", "ramp": {"latency": ["100ms", "2s"], "over": "20s"}}, "above latency"),
        ({"kind": "down", "ramp": {"x": [1, 2], "over": "20s"}}, "phases with faults of their own"),
        ({"latency": "1s", "flaps": {"on": "2s", "off": "1s"}}, "not a parameter"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(raw: dict[str, Any], complaint: str) -> None:
    """Before anything starts, with what to write instead."""
    with pytest.raises(ValueError, match=complaint):
        parse_fault("slow", {"on": "vector_db", "kind": "latency", **raw})


@pytest.mark.parametrize(
    ("delay", "toxic", "shift_s"),
    [
        ("2s", ("latency", {"latency": 2000, "jitter": 0}), 2.0),
        ({"constant": "2s"}, ("latency", {"latency": 2000, "jitter": 0}), 2.0),
        ({"uniform": ["1s", "3s"]}, ("latency", {"latency": 2000, "jitter": 1000}), 1.375),
        (
            {"normal": ["2s", "300ms"]},
            ("latency_distribution", {"latency": 2000, "spread": 300, "distribution": "normal"}),
            1.883163,
        ),
        (
            {"lognormal": ["2s", 0.5]},
            ("latency_distribution", {"latency": 2000, "spread": 500, "distribution": "lognormal"}),
            1.098449,
        ),
        (
            {"pareto": ["1s", 1.5]},
            ("latency_distribution", {"latency": 1000, "spread": 1500, "distribution": "pareto"}),
            1.0,
        ),
    ],
)
def test_a_distribution_is_this_toxic(delay: Any, toxic: tuple[str, dict[str, Any]], shift_s: float) -> None:
    """Toxiproxy's own toxic where it can be it; expected is what nineteen draws in twenty reach."""
    fault = parsed(latency=delay)
    made = fault.toxic("slow")
    assert (made.type, made.attributes) == toxic
    assert (fault.expects() or {})["shift_s"] == pytest.approx(shift_s, abs=2e-3)


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ({"latency": {"gamma": ["1s", 2]}}, r"is no delay; write 2s, or one of .*pareto"),
        ({"latency": {"normal": ["1s", "1s"], "constant": "1s"}}, "is no delay"),
        ({"latency": {"normal": "1s"}}, r"normal takes two values.*\{normal: \[2s, 300ms\]\}"),
        ({"latency": {"uniform": ["3s", "1s"]}}, "smaller one first"),
        ({"latency": {"uniform": ["0ms", "1ms"]}}, "one end 1 ms longer"),
        ({"latency": {"lognormal": ["1s", 9]}}, "allowed is 0.001 to 5"),
        ({"latency": {"pareto": ["1s", "2s"]}}, "allowed is 0.1 to 100"),
        ({"latency": {"pareto": ["1s", 1.23456]}}, "whole thousandths"),
        ({"latency": {"constant": "0s"}}, "out of bounds"),
        ({"latency": {"normal": ["1s", "1s"]}, "jitter": "1s"}, "a distribution, which has its own"),
    ],
)
def test_a_distribution_that_cannot_be_is_refused(raw: dict[str, Any], complaint: str) -> None:
    """The complaint says what may be written."""
    with pytest.raises(ValueError, match=complaint):
        parsed(**raw)


@pytest.mark.parametrize(
    "raw",
    [{"latency": {"normal": ["1s", "1s"]}}, {"ramp": {"latency": ["0s", "4s"], "over": "30s"}}],
)
def test_what_toxiproxy_cannot_do_is_refused_before_the_load_begins(raw: dict[str, Any]) -> None:
    """With what to do; the built-in proxy takes it, and Toxiproxy what it can."""
    with pytest.raises(FaultProxyError, match="RAGQUAKE_PROXY=builtin"):
        parsed(**raw).check(Controls(Toxiproxy("http://127.0.0.1:1")))
    parsed(**raw).check(Controls(BuiltinProxy("http://127.0.0.1:1")))
    parsed(latency={"uniform": ["1s", "3s"]}).check(Controls(Toxiproxy("http://127.0.0.1:1")))
