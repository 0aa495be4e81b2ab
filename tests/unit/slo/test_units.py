"""Units: one spelling for each quantity, and no guessing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.units import format_duration, format_ratio, parse_duration_s, parse_rate_per_s, parse_ratio


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300ms", 0.3), ("10s", 10), ("2m", 120), ("1h", 3600), ("1.5 s", 1.5), ("5us", 5e-6)],
)
def test_durations_become_seconds(text: str, seconds: float) -> None:
    """Each unit has its meaning."""
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", "", "s", "5 sec", "1e999s", "nans", None, 3, "5s5s", "٣s s"])
def test_a_number_without_a_unit_is_refused(text: object) -> None:
    """A bare number could mean anything, so it means nothing."""
    with pytest.raises(ValueError, match=r"duration|finite"):
        parse_duration_s(text)


def test_ratios_and_rates() -> None:
    """Percentages become ratios, rates become events per second."""
    assert parse_ratio("99.9%") == pytest.approx(0.999)
    assert parse_rate_per_s("120/m") == pytest.approx(2.0)
    with pytest.raises(ValueError, match="percentage"):
        parse_ratio("0.99")
    with pytest.raises(ValueError, match="rate"):
        parse_rate_per_s("4")


@given(st.floats(min_value=1e-5, max_value=1e5))
def test_a_formatted_duration_is_readable_and_near(seconds: float) -> None:
    """Formatting keeps about three digits."""
    text = format_duration(seconds)
    if " m" in text and not text.endswith(" ms"):
        return
    assert parse_duration_s(text) == pytest.approx(seconds, rel=6e-3)


def test_formatting() -> None:
    """Figures come in the unit that people would choose."""
    assert [format_duration(s) for s in (0.0123, 0.34, 2.13, 200.0, float("inf"))] == [
        "12.3 ms",
        "340 ms",
        "2.13 s",
        "3 m 20 s",
        "∞",
    ]
    assert format_ratio(0.9995) == "99.95 %"
