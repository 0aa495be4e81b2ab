"""When a stop condition has held for its time: window after window, and no longer than it must."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.experiment import StopCondition
from chaos.run.stop_conditions import BUCKET_S, LONGEST_S, SHORTEST_S, ConditionWatch
from slo.statistics import percentile

LOOK_S = 0.25
START_S = 1_800_000_000.0


def condition(**changes: object) -> StopCondition:
    raw = {"segment": "journey", "indicator": "error_ratio", "above": "50%", "for": "10s"}
    return StopCondition.model_validate(raw | changes)


def fires(watch: ConditionWatch, samples: list[tuple[float, float]], until_s: float) -> float | None:
    """Samples (seconds from the start, value) come in time; when it fires, if it does."""
    now_s, waiting = 0.0, sorted(samples)
    while now_s <= until_s:
        while waiting and waiting[0][0] <= now_s:
            at_s, value = waiting.pop(0)
            watch.take(START_S + at_s, value)
        if watch.look(START_S + now_s) is not None:
            return now_s
        now_s += LOOK_S
    return None


def steady(from_s: float, to_s: float, per_s: float, value: float) -> list[tuple[float, float]]:
    count = round((to_s - from_s) * per_s)
    return [(from_s + (number + 0.5) / per_s, value) for number in range(count)]


@pytest.mark.parametrize("for_s", [0.5, 1, 2, 3, 5, 8, 10, 12, 30, 300])
@pytest.mark.parametrize("per_s", [3, 20])
def test_it_fires_within_a_second_of_its_time(for_s: float, per_s: float) -> None:
    """Not much before it has held for its whole time, and hardly later, however long and busy it is."""
    watch = ConditionWatch(condition(**{"for": f"{for_s}s"}))
    bad_from_s = 20.0
    samples = steady(0, bad_from_s, per_s, 0.0) + steady(bad_from_s, bad_from_s + for_s + 10, per_s, 1.0)
    fired_s = fires(watch, samples, bad_from_s + for_s + 10)

    enough_s = max(for_s, SHORTEST_S, math.ceil(5 / per_s))  # five samples are asked for
    assert fired_s is not None
    assert bad_from_s + enough_s - SHORTEST_S <= fired_s <= bad_from_s + enough_s + 2 * LOOK_S


def test_one_good_second_within_its_time_begins_it_anew() -> None:
    """A service that recovers in between is not stopped, though most of the ten seconds was bad."""
    samples = [*steady(0, 4, 10, 1.0), *steady(4, 7.5, 10, 0.0), *steady(7.5, 30, 10, 1.0)]
    fired_s = fires(ConditionWatch(condition()), samples, 30)

    assert fired_s is not None and fired_s >= 4 + 10
    nearly = [*steady(0, 10, 10, 0.0), *steady(10, 18.9, 10, 1.0), *steady(18.9, 40, 10, 0.0)]
    assert fires(ConditionWatch(condition()), nearly, 40) is None


def test_a_burst_of_errors_does_not_stand_for_the_time_around_it() -> None:
    """A hundred errors in one second outvote all else in ten, and are still one bad second."""
    samples = steady(0, 30, 4, 0.0) + steady(15, 16, 100, 1.0)
    assert fires(ConditionWatch(condition()), samples, 30) is None
    assert fires(ConditionWatch(condition(**{"for": "1s"})), samples, 30) is not None


def test_too_few_samples_begin_nothing() -> None:
    """One failed attempt every three seconds is no reason to stop, unless so few are asked for."""
    samples = steady(0, 40, 1 / 3, 1.0)
    assert fires(ConditionWatch(condition()), samples, 40) is None
    assert fires(ConditionWatch(condition(min_samples=3)), samples, 40) is not None


def test_a_short_time_is_made_longer_where_samples_are_few() -> None:
    """`for: 1s` with two answers a second would else never have the five that it asks for."""
    watch = ConditionWatch(condition(**{"for": "1s"}))
    fired_s = fires(watch, steady(0, 10, 2, 0.0) + steady(10, 20, 2, 1.0), 20)
    assert fired_s is not None and 12 <= fired_s <= 14


def test_silence_is_no_recovery_but_a_good_answer_is() -> None:
    """Where nothing comes any more after the breach began it goes on; a few good answers end it."""
    before, outage = steady(0, 5, 10, 0.0), steady(5, 9, 10, 1.0)
    fired_s = fires(ConditionWatch(condition()), [*before, *outage], 40)
    assert fired_s == pytest.approx(15.0, abs=SHORTEST_S)
    good = [(11.0, 0.0), (12.5, 0.0), (14.0, 0.0)]
    assert fires(ConditionWatch(condition()), [*before, *outage, *good], 40) is None


def test_nothing_at_all_never_fires() -> None:
    """Silence alone says nothing."""
    assert fires(ConditionWatch(condition(min_samples=1)), [], 60) is None


def test_samples_that_come_late_count_where_they_belong() -> None:
    """An exporter that held its spans back for ten seconds hides no outage: they are judged by their end."""
    watch = ConditionWatch(condition())
    assert watch.look(START_S + 10) is None
    for at_s, value in steady(0, 10, 5, 1.0):
        watch.take(START_S + at_s, value)

    assert watch.look(START_S + 10) is not None


@pytest.mark.parametrize(("indicator", "slow", "fired"), [("p50", 0.4, False), ("p50", 0.6, True)])
def test_a_percentile_is_above_when_enough_samples_are(indicator: str, slow: float, fired: bool) -> None:
    """Two in five slow ones leave the median where it was, three in five do not."""
    watch = ConditionWatch(condition(indicator=indicator, above="2s", **{"for": "4s"}))
    samples = [
        (at_s, 3.0 if index % 5 < slow * 5 else 0.1) for index, (at_s, _) in enumerate(steady(0, 20, 20, 0))
    ]
    assert (fires(watch, samples, 20) is not None) is fired


def test_what_failed_is_slower_than_anything() -> None:
    """A search that ends in a timeout after 300 ms has not become fast."""
    watch = ConditionWatch(condition(indicator="p95", above="2s", **{"for": "4s"}))
    for at_s, value in steady(0, 4, 10, math.inf):
        watch.take(START_S + at_s, value)
    breach = watch.look(START_S + 4)

    assert breach is not None and breach.value == math.inf
    assert breach.sentence() == "∞ (p95 of 40 samples within 4 s)"


def test_a_breach_says_what_was_seen() -> None:
    """The ratio over its whole time, from how many samples, in windows of which length."""
    watch = ConditionWatch(condition())
    for index, (at_s, _) in enumerate(steady(0, 10, 8, 0.0)):
        watch.take(START_S + at_s, float(index % 4 != 0))
    breach = watch.look(START_S + 10)

    assert breach is not None
    assert (breach.value, breach.samples) == (0.75, 80)
    assert SHORTEST_S <= breach.window_s <= LONGEST_S
    assert breach.sentence() == "75 % of 80 samples within 10 s"


@given(
    values=st.lists(st.floats(0.0, 10.0), min_size=1, max_size=60),
    indicator=st.sampled_from(["p50", "p95", "p99"]),
    limit_ms=st.integers(1, 10_000),
)
def test_counting_decides_as_the_exact_percentile_does(
    values: list[float], indicator: str, limit_ms: int
) -> None:
    """A window is above its limit exactly when the nearest-rank percentile of its samples is."""
    import numpy as np

    limits = {"indicator": indicator, "above": f"{limit_ms}ms", "for": "1s", "min_samples": 1}
    watch = ConditionWatch(condition(**limits))
    for value in values:
        watch.take(START_S + 0.5, value)
    q = {"p50": 0.5, "p95": 0.95, "p99": 0.99}[indicator]
    expected = percentile(np.array(values), q)
    breach = watch.look(START_S + 1.0)

    assert (breach is not None) is (expected > limit_ms / 1000)
    assert breach is None or breach.value == expected


def test_what_is_over_is_forgotten() -> None:
    """A condition of ten seconds holds no more than ten seconds of counts, for however long it is watched."""
    watch = ConditionWatch(condition())
    for at_s, value in steady(0, 600, 10, 0.0):
        watch.take(START_S + at_s, value)
        watch.look(START_S + at_s)

    assert len(watch._counts) <= 10 / BUCKET_S + 1
    assert len(watch._values) <= 10 * 10 + 10
