"""Indicators against runs whose right answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.bundle import Bundle
from slo.evidence import read_evidence
from slo.indicators import all_indicators
from slo.indicators.recovery_time import recovered_after
from slo.segments import default_table


@pytest.fixture
def measure(tmp_path):
    def measured(run, indicator, segment="journey", phase="baseline"):
        folder = tmp_path / "run"
        evidence = read_evidence(Bundle.at(folder if folder.exists() else run.write(folder)), default_table())
        return all_indicators()[indicator].estimate(evidence, segment, evidence.plan.phase(phase))

    return measured


def test_ten_percent_failures_make_p95_infinite_and_leave_p50(steady, measure):
    """A failed request waited for ever, however fast it failed."""
    for attempt in steady.attempts[50:350:10]:
        attempt["outcome"] = "error"
    assert measure(steady, "p95").value == math.inf
    assert measure(steady, "p50").value < 1
    assert measure(steady, "good_ratio").value == pytest.approx(0.9)
    assert measure(steady, "error_ratio").value == pytest.approx(0.1)
    assert measure(steady, "ttft_p95").value == math.inf
    assert measure(steady, "goodput").value == pytest.approx(9.0)
    assert measure(steady, "rate").value == pytest.approx(10.0)


def test_dropped_arrivals_count_against_the_good_ratio(steady, measure):
    """Whoever was never served was not served well."""
    for attempt in steady.attempts[50:80]:
        attempt.update(dropped=True, outcome=None, trace_id=None)
    assert measure(steady, "good_ratio").value == pytest.approx(0.9)


def test_a_wait_counts_from_the_intended_start(steady, measure):
    """A late start is the user's wait, not the generator's secret."""
    before = measure(steady, "ttft_p50").value
    assert before == pytest.approx(0.09, abs=0.03)


def test_time_to_first_token_is_asked_of_streams_only(steady, measure):
    """Half of the attempts do not stream; they are left out."""
    for attempt in steady.attempts[::2]:
        attempt["stream"] = False
    assert measure(steady, "ttft_p95").samples == 150


def test_recall_looks_at_the_first_five_citations(steady, measure):
    """A relevant document in the sixth place is a miss, and so are no citations at all."""
    for attempt in steady.attempts[50:350]:
        attempt["relevant"], attempt["citations"] = ["x"], ["a", "b", "c", "d", "x", "y"]
    for attempt in steady.attempts[50:110]:
        attempt["citations"] = ["a", "b", "c", "d", "e", "x"]
    steady.attempts[110]["citations"] = None
    found = measure(steady, "recall_at_5", "retrieve")
    assert found.value == pytest.approx(239 / 300)


def test_recovery_waits_for_full_answers(healthy, measure):
    """Quick degraded answers are not recovery: it lasts until the breaker lets full ones through."""
    for attempt in healthy.attempts[650:760]:
        attempt["outcome"] = "degraded"
    found = measure(healthy, "recovery_time", phase="recovery")
    assert found.value == pytest.approx(11.0, abs=2.1)
    assert not found.censored


def test_a_run_that_never_recovers_is_censored(healthy, measure):
    """`> 35 s` is what was seen; a number would be invented."""
    for attempt in healthy.attempts[650:]:
        attempt["outcome"] = "degraded"
    found = measure(healthy, "recovery_time", phase="recovery")
    assert (found.censored, found.value, found.interval.high) == (True, 35.0, math.inf)


@given(st.floats(0, 30), st.integers(2, 20))
def test_the_hold_rule_finds_a_step_within_its_tolerance(back_s, per_s):
    """A clean return is found early by at most 20 % of the hold, and never late by more than a bucket."""
    at_s = np.arange(0, 60, 1 / per_s)
    found = recovered_after(at_s, at_s >= back_s, 0.0, 60.0)
    assert not found.censored
    assert back_s - 2.5 <= found.value_s <= back_s + 1.5
