"""A fault that is in several times, or changes while it is in, is looked at for what it was each time."""

from __future__ import annotations

import math

import pytest

from slo.bundle import JsonLines
from slo.plan import PlannedFault, read_plan

SHIFT = {"segment": "search", "shift_s": 2.0}


def fault_of(*events: tuple[float, str, dict]) -> PlannedFault:
    """The one fault of a journal in which these events happened to it, by offset from t0."""
    planned = {"on": "vector_db", "kind": "latency", "parameters": {}, "expects": SHIFT}
    phase = {"name": "fault", "start_s": 0, "end_s": 60, "rate_per_s": 1, "faults": ["slow"]}
    journal = [
        {"at_s": 90.0, "event": "run.planned", "phases": [phase], "faults": {"slow": planned}},
        {"at_s": 100.0, "event": "load.started", "t0_s": 100.0},
    ]
    journal += [
        {"at_s": 100.0 + at_s, "event": f"fault.{event}", "fault": "slow", **facts}
        for at_s, event, facts in events
    ]
    return read_plan(JsonLines(records=tuple(journal), torn=0)).faults[0]


def test_each_turn_of_a_flapping_fault_is_a_stretch() -> None:
    """From reading back to taking out; the fault as a whole is from the first to the last."""
    fault = fault_of(
        (5, "injected", {}), (5.25, "verified", {}), (7, "removed", {"observed": {"hits": 3}}),
        (10, "injected", {}), (10.25, "verified", {}), (12, "removed", {"observed": {"hits": 4}}),
    )  # fmt: skip
    assert fault.turns == ((5.25, 7.0), (10.25, 12.0))
    assert (fault.injected_s, fault.removed_s) == (5.0, 12.0)
    assert [stretch.expects for stretch in fault.stretches] == [SHIFT, SHIFT]
    assert [seen["hits"] for seen in fault.observed] == [3, 4]


def test_a_fault_that_is_in_again_when_the_journal_ends_is_not_out() -> None:
    """That it was out once says nothing about its end."""
    fault = fault_of((5, "injected", {}), (7, "removed", {}), (10, "injected", {}))
    assert fault.turns == ((5.0, 7.0), (10.0, math.inf)) and fault.removed_s is None


def test_a_removal_that_had_to_be_repeated_ends_the_turn() -> None:
    """A fault that still showed after its removal was in until it did not."""
    fault = fault_of((5, "injected", {}), (7, "removed", {}), (9, "removed", {}))
    assert fault.turns == ((5.0, 9.0),) and fault.removed_s == 9.0
    assert fault_of((9, "removed", {})).turns == ()


def test_a_ramp_is_one_turn_with_a_stretch_for_each_step() -> None:
    """Each step expects what it does; only the last ends with the fault."""
    fault = fault_of(
        (5, "injected", {"expects": {}}), (5.25, "verified", {}),
        (6, "changed", {"expects": SHIFT | {"shift_s": 1.0}}), (7, "changed", {"expects": SHIFT}),
        (9, "removed", {}),
    )  # fmt: skip
    assert fault.turns == ((5.25, 9.0),)
    assert [(one.start_s, one.end_s, one.removed) for one in fault.stretches] == [
        (5.25, 6.0, False), (6.0, 7.0, False), (7.0, 9.0, True),
    ]  # fmt: skip
    assert [dict(one.expects or {}).get("shift_s") for one in fault.stretches] == [None, 1.0, 2.0]


def bite_of(healthy, judge, events, spans):
    """The bite of the fault with these events, and these search spans (start, duration) in its phase."""
    t0_s = healthy.event("load.started")["t0_s"]
    healthy.drop_events("fault.injected", "fault.verified", "fault.removed")
    healthy.journal[-3:-3] = [
        {"at_s": t0_s + at_s, "event": f"fault.{event}", "fault": "slow", **facts}
        for at_s, event, facts in events
    ]
    met = [one for one in healthy.spans if one["segment"] == "search" and 35 <= one["at_s"] < 65]
    healthy.spans = [one for one in healthy.spans if one not in met]
    for like, (at_s, duration_s) in zip(met, spans, strict=False):
        attributes = {name: value for name, value in like["attributes"].items() if name != "error.type"}
        facts = {"at_s": at_s, "duration_s": duration_s, "failed": False, "attributes": attributes}
        healthy.spans.append(like | facts)
    return judge(healthy).faults[0].bite


FLAPPING = [
    (35, "injected", {}), (40, "removed", {}), (45, "injected", {}), (50, "removed", {}),
    (55, "injected", {}), (60, "removed", {}),
]  # fmt: skip


def test_the_bite_of_a_flapping_fault_is_looked_for_while_it_was_in(healthy, judge):
    """Fast calls between its turns say nothing, nor do those that its removal let go."""
    slow = [(at_s + second, 2.0) for at_s in (35, 45, 55) for second in (0.5, 1.5, 2.5)]
    between = [(at_s + second, 0.01) for at_s in (40, 50) for second in (0.5, 1.5, 2.5, 3.5)]
    let_go = [(at_s + 4.0, 1.01) for at_s in (35, 45, 55)]
    bite = bite_of(healthy, judge, FLAPPING, slow + between + let_go)
    assert (bite.verdict, bite.spans, bite.bitten_ratio) == ("pass", 9, 1.0)


def test_a_flapping_fault_that_was_not_felt_did_not_bite(healthy, judge):
    """The negative control: fast calls within its turns."""
    fast = [(at_s + second, 0.01) for at_s in (35, 45, 55) for second in (0.5, 1.5, 2.5)]
    assert bite_of(healthy, judge, FLAPPING, fast).verdict == "inconclusive"


@pytest.mark.parametrize(("of_shift", "verdict"), [(1.0, "pass"), (0.4, "inconclusive")])
def test_a_span_on_a_ramp_shows_the_shift_of_its_step(healthy, judge, of_shift, verdict):
    """Half a second early, two seconds late; where the ramp begins with nothing, nothing is asked."""
    shifts = [0.0, 0.5, 1.0, 1.5, 2.0]
    steps = [SHIFT | {"shift_s": shift_s} if shift_s else {} for shift_s in shifts]
    events = [(35, "injected", {"expects": steps[0]})]
    events += [(35 + 5 * index, "changed", {"expects": step}) for index, step in enumerate(steps[1:], 1)]
    events += [(65, "removed", {})]
    spans = [
        (35 + 5 * index + second, shift_s * of_shift + 0.01)
        for index, shift_s in enumerate(shifts)
        for second in (0.5, 1.5)
    ]
    bite = bite_of(healthy, judge, events, spans)
    assert (bite.verdict, bite.spans) == (verdict, 8)


@pytest.mark.parametrize(
    ("bits", "verdict"), [([True, True, True], "pass"), ([True, False, False], "inconclusive")]
)
def test_what_was_observed_counts_for_each_turn(healthy, judge, bits, verdict):
    """Four turns in five must have been felt; hits add up."""
    healthy.event("run.planned")["faults"]["slow"]["expects"] = {"segment": "search", "evidence": True}
    turns = iter(bits)
    events = [
        (at_s, event, facts | ({"observed": {"bit": next(turns), "hits": 1}} if event == "removed" else {}))
        for at_s, event, facts in FLAPPING
    ]
    assert bite_of(healthy, judge, events, []).verdict == verdict
    healthy.event("run.planned")["faults"]["slow"]["expects"] = {"segment": "search", "hits": True}
    assert bite_of(healthy, judge, events, []).spans == 3
