"""Delays from distributions: the shape that was asked for, within bounds, in order, the same for a seed."""

from __future__ import annotations

import math
import random
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.proxy.toxics.latency_distribution import MOST_MS, LatencyDistribution

DRAWS = 20_000


def drawn_ms(line: Any, seed: int = 1, draws: int = DRAWS, **attributes: Any) -> list[float]:
    line.rng = random.Random(seed)
    stage = LatencyDistribution("it", {**LatencyDistribution.defaults, **attributes}, line)
    return [stage._delay_s() * 1000 for _ in range(draws)]


def quantile(values: list[float], part: float) -> float:
    return sorted(values)[int(part * len(values))]


def test_constant_is_constant(line: Any) -> None:
    """No chance at all."""
    assert set(drawn_ms(line, latency=20, draws=100)) == {20.0}


def test_uniform_fills_its_range_evenly(line: Any) -> None:
    """Between latency - spread and latency + spread, its quarters equally full."""
    drawn = drawn_ms(line, distribution="uniform", latency=100, spread=40)
    assert min(drawn) >= 60
    assert max(drawn) <= 140
    for part, expected in ((0.25, 80), (0.5, 100), (0.75, 120)):
        assert quantile(drawn, part) == pytest.approx(expected, abs=2)


def test_normal_has_its_mean_and_deviation_and_no_negative_delay(line: Any) -> None:
    """The mean is `latency`, the deviation `spread`; what would lie before now is now."""
    drawn = drawn_ms(line, distribution="normal", latency=200, spread=30)
    assert statistics.fmean(drawn) == pytest.approx(200, abs=2)
    assert statistics.stdev(drawn) == pytest.approx(30, abs=1)
    assert min(drawn_ms(line, distribution="normal", latency=10, spread=100)) == 0.0


def test_lognormal_has_its_median_and_shape(line: Any) -> None:
    """Half are below `latency`; the quantile at one deviation is e to the shape times that."""
    drawn = drawn_ms(line, distribution="lognormal", latency=200, spread=500)
    assert quantile(drawn, 0.5) == pytest.approx(200, rel=0.03)
    assert quantile(drawn, 0.8413) == pytest.approx(200 * math.exp(0.5), rel=0.03)
    assert quantile(drawn, 0.1587) == pytest.approx(200 * math.exp(-0.5), rel=0.03)


def test_pareto_has_its_least_and_its_tail(line: Any) -> None:
    """None is below `latency`, and the part above x falls with (latency / x) to the shape."""
    drawn = drawn_ms(line, distribution="pareto", latency=100, spread=1500)
    assert min(drawn) >= 100
    for x in (150.0, 300.0, 1000.0):
        assert sum(each > x for each in drawn) / DRAWS == pytest.approx((100 / x) ** 1.5, abs=0.01)


def test_the_heaviest_tail_ends_at_ten_minutes(line: Any) -> None:
    """A draw that would overflow, or last a year, is an outage of ten minutes."""
    assert max(drawn_ms(line, distribution="pareto", latency=1000, spread=100)) == MOST_MS
    assert max(drawn_ms(line, distribution="lognormal", latency=MOST_MS, spread=5000)) == MOST_MS


def test_a_seed_gives_the_same_delays(line: Any) -> None:
    """The same seed draws the same, another seed something else."""
    asked: dict[str, Any] = {"distribution": "lognormal", "latency": 50, "spread": 800, "draws": 50}
    assert drawn_ms(line, seed=7, **asked) == drawn_ms(line, seed=7, **asked)
    assert drawn_ms(line, seed=7, **asked) != drawn_ms(line, seed=8, **asked)


@pytest.mark.parametrize(
    ("latency", "spread", "distribution", "why"),
    [
        (1, 0, "gamma", "one of constant, uniform, normal, lognormal, pareto, not 'gamma'"),
        (-1, 0, "constant", "latency must be within 0..600000 ms, not -1"),
        (MOST_MS + 1, 0, "constant", "latency must be within"),
        (10, 1, "constant", "spread of constant must be within 0..0 ms, not 1"),
        (10, 11, "uniform", "spread of uniform must be within 0..10 ms, not 11"),
        (10, -1, "normal", "spread of normal must be within 0..600000 ms, not -1"),
        (10, 5001, "lognormal", "within 0..5000 thousandths, not 5001"),
        (10, 99, "pareto", "within 100..100000 thousandths, not 99"),
    ],
)
def test_what_is_no_distribution_is_refused(latency: int, spread: int, distribution: str, why: str) -> None:
    """The message has the value and what is allowed."""
    asked = {"latency": latency, "spread": spread, "distribution": distribution}
    assert why in (LatencyDistribution.refuse(asked) or "")


@given(
    distribution=st.sampled_from(["constant", "uniform", "normal", "lognormal", "pareto"]),
    latency=st.integers(0, 300),
    spread=st.integers(100, 900),
    gaps=st.lists(st.integers(0, 50), min_size=1, max_size=20),
    seed=st.integers(0, 99),
)
def test_bytes_stay_in_order_whatever_is_drawn(
    new_line: Any, distribution: str, latency: int, spread: int, gaps: list[int], seed: int
) -> None:
    """A chunk that drew less waits for the one before it; none is lost."""
    line = new_line()
    line.rng = random.Random(seed)
    stage = line.add(LatencyDistribution, distribution=distribution, latency=latency, spread=spread)
    for index, gap in enumerate(gaps):
        line.send(stage, index.to_bytes(2, "big"))
        line.run_for(gap / 1000)
    line.send(stage, b"")
    line.run_for(MOST_MS / 1000 + 1)
    assert [data for _, data in line.came] == [*(i.to_bytes(2, "big") for i in range(len(gaps))), b""]
