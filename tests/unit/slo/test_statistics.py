"""Percentiles, ratios and intervals that hold under queueing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo import statistics


def test_minimum_samples_are_those_of_order_statistics():
    """A 95 % interval of p95 needs 72 samples and of p99 368."""
    assert [statistics.minimum_samples(q) for q in (0.5, 0.95, 0.99)] == [6, 72, 368]


@given(st.lists(st.floats(0, 1e6) | st.just(math.inf), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_percentile_is_the_smallest_value_that_enough_do_not_exceed(values, q):
    """Nearest rank: at least q of all values are at or below it, and with any smaller value they are not."""
    found = statistics.percentile(np.array(values), q)
    assert found in values
    assert sum(value <= found for value in values) >= q * len(values) - 1e-6
    assert sum(value < found for value in values) < q * len(values) + 1e-6


def test_failures_make_a_percentile_infinite_only_where_they_lie():
    """Six failures of a hundred leave p50 alone and make p95 infinite."""
    values = np.array([0.1] * 94 + [math.inf] * 6)
    assert statistics.percentile(values, 0.5) == 0.1
    assert statistics.percentile(values, 0.95) == math.inf


def test_wilson_is_honest_about_zero_events():
    """No error among 300 still allows 1.26 %."""
    assert statistics.wilson(0, 300).high == pytest.approx(0.0126, abs=1e-4)
    assert statistics.wilson(0, 300).low == 0.0
    assert statistics.wilson(300, 300).high == 1.0


def test_the_bootstrap_is_deterministic_and_depends_on_its_seed():
    """The same seed gives the same interval; another seed nearly the same."""
    rng = np.random.default_rng(0)
    at_s, values = np.sort(rng.uniform(0, 40, 800)), rng.lognormal(0, 0.6, 800)
    one, two, other = (statistics.bootstrap_percentile(at_s, values, 0.95, 0, 40, seed) for seed in (1, 1, 2))
    assert one.interval == two.interval
    assert one.interval.low == pytest.approx(other.interval.low, rel=0.2)
    assert one.interval.low <= statistics.percentile(values, 0.95) <= one.interval.high


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.floats(0, 30), st.floats(0, 5) | st.just(math.inf)), min_size=1, max_size=60),
    st.sampled_from([0.5, 0.95]),
)
def test_any_samples_have_an_ordered_interval_of_values_that_occurred(samples, q):
    """However odd the samples, the interval's ends are samples, in order."""
    at_s, values = (np.array(column, dtype=float) for column in zip(*samples, strict=True))
    interval = statistics.bootstrap_percentile(at_s, values, q, 0, 30, 1).interval
    assert interval.low <= interval.high
    assert {interval.low, interval.high} <= set(values.tolist())


def test_intervals_hold_for_samples_that_resemble_their_neighbours():
    """On AR(1) streams with phi = 0.9 the textbook interval covers p95 in half of the runs, ours in most."""
    truth, runs, n, phi = 1.6448536, 60, 2000, 0.9
    covered = naive = 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        noise = rng.normal(0, math.sqrt(1 - phi * phi), n)
        values = np.empty(n)
        values[0] = rng.normal()
        for index in range(1, n):
            values[index] = phi * values[index - 1] + noise[index]
        at_s = np.arange(n) * (40.0 / n)
        interval = statistics.bootstrap_percentile(at_s, values, 0.95, 0, 40, seed).interval
        covered += interval.low <= truth <= interval.high
        ordered = np.sort(values)
        naive += ordered[1880] <= truth <= ordered[1919]
    assert covered >= 0.8 * runs
    assert naive <= 0.7 * runs  # the negative control: the streams do need it


def test_a_slow_wave_gets_longer_blocks_than_white_noise():
    """Blocks grow with the time over which neighbours resemble each other, up to a quarter of the window."""
    rng = np.random.default_rng(3)
    at_s = np.arange(0, 120, 0.05)
    wave = np.sin(at_s / 8) + rng.normal(0, 0.1, len(at_s))
    assert statistics.block_length_s(at_s, rng.normal(0, 1, len(at_s)), 120) == 5.0
    assert 5.0 < statistics.block_length_s(at_s, wave, 120) <= 30.0
