"""The grammar of targets, and what an interval must do to meet one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.statistics import Interval
from slo.target import parse_target


@pytest.mark.parametrize(
    ("text", "unit", "good", "bad"),
    [
        ("<= 1.5s", "s", 1.5, 1.51),
        ("<= 300ms", "s", 0.3, math.inf),
        (">= 99%", "ratio", 0.99, 0.9899),
        ("= 0%", "ratio", 0.0, 0.001),
        ("<= +10%", "s", 1.1, 1.11),
        (">= -5%", "per_s", 0.95, 0.94),
        (">= 4/s", "per_s", 4.0, 3.9),
    ],
)
def test_a_target_separates_good_from_bad(text, unit, good, bad):
    """The bound itself is good; a relative target is about the ratio to the baseline."""
    target = parse_target(text, unit)
    assert target.meets(good)
    assert not target.meets(bad)
    assert target.relative == ("+" in text or "-" in text)


@pytest.mark.parametrize(
    ("text", "unit", "why"),
    [
        ("1.5s", "s", "is not a target"),
        ("< 1.5s", "s", "is not a"),
        ("<= 1.5", "s", "not a duration"),
        ("<= 5%", "s", "not a duration"),
        (">= 99", "ratio", "not a ratio"),
        (">= 101%", "ratio", "between 0% and 100%"),
        ("<= +10%", "ratio", "no relative target"),
        ("= 5%", "ratio", "exact shares only"),
        ("= 1s", "s", "exact shares only"),
        (5, "s", "is not a target"),
    ],
)
def test_a_wrong_target_says_what_is_allowed(text, unit, why):
    """The complaint names the value and gives an example."""
    with pytest.raises(ValueError, match=why):
        parse_target(text, unit)


@given(st.floats(0, 10), st.floats(0, 10), st.sampled_from(["<= 5s", ">= 5s", "<= +10%"]))
def test_an_interval_cannot_meet_and_miss(one, two, text):
    """Whole in, whole out, or undecided: never two of them, and a point is never undecided."""
    target = parse_target(text, "per_s" if "/" in text else "s")
    interval = Interval(min(one, two), max(one, two))
    assert not (target.meets_whole(interval) and target.misses_whole(interval))
    point = Interval(one, one)
    assert target.meets_whole(point) != target.misses_whole(point)
