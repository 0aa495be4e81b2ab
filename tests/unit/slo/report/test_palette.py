"""The palette: readable in both surroundings and exchangeable without doubt."""

from __future__ import annotations

import pytest

from slo.report.palette import SHADES, breaker_shade, outcome_shade, swaps
from slo.report.wording import OUTCOMES


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("surroundings", ["light", "dark"])
@pytest.mark.parametrize("text", ["ink", "muted", "accent", "pass", "warn", "fail", "inconclusive", "error"])
@pytest.mark.parametrize("behind", ["surface", "ground"])
def test_text_can_be_read(surroundings: str, text: str, behind: str) -> None:
    """Every colour that text is written in has a contrast of 4.5 to what it stands on."""
    colours = [getattr(SHADES[name], surroundings) for name in (text, behind)]
    assert contrast(*colours) >= 4.5


def test_no_two_names_share_a_light_colour() -> None:
    """Else the exchange of light for dark would be ambiguous."""
    assert len(swaps()) == len(SHADES)


def test_every_outcome_and_state_has_a_shade() -> None:
    """Known ones have their own; an unknown one is still drawn."""
    assert len({outcome_shade(name) for name in OUTCOMES}) == len(OUTCOMES)
    assert outcome_shade("something new") in SHADES
    assert breaker_shade("HALF-OPEN") == breaker_shade("half_open") != breaker_shade("open")
    assert breaker_shade("forced_open") in SHADES
