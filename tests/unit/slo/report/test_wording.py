"""Wording: one way to write a value, and no text that does more than be read."""

from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.report import wording
from slo.verdict import Verdict


@given(st.text(st.characters(), max_size=300))
def test_clean_text_cannot_act(text: str) -> None:
    """No control, no reordering, no lone surrogate is left, and cleaning twice changes nothing."""
    cleaned = wording.clean(text)
    assert not any(unicodedata.category(char) in ("Cc", "Cs") for char in cleaned)
    assert "\u202e" not in cleaned
    cleaned.encode("utf-8")
    assert wording.clean(cleaned) == cleaned


def test_clean_keeps_what_people_write() -> None:
    """Accents, other scripts, emoji and typographic marks stay as they are."""
    text = "naïve – 検索 · ошибка ≥ 98 % 🙂"
    assert wording.clean(text) == text


def test_legible_changes_text_only(verdict: Verdict) -> None:
    """An ordinary verdict comes out equal, and an escape sequence anywhere in one is gone."""
    assert wording.legible(verdict) == verdict
    run = verdict.run.model_copy(update={"title": "\x1b[2Jgone"})
    assert wording.legible(verdict.model_copy(update={"run": run})).run.title == "\ufffd[2Jgone"


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (0.34, "s", "340 ms"),
        (0.992, "ratio", "99.2 %"),
        (4.125, "per_s", "4.12/s"),
        (math.inf, "s", "∞"),
        (math.inf, "ratio", "∞"),
        (math.nan, "s", "–"),
        (None, "ratio", "–"),
    ],
)
def test_values_are_written_in_their_unit(number: float | None, unit: str, text: str) -> None:
    """Infinity and nothing have a sign of their own in every unit."""
    assert wording.value(number, unit) == text


def test_a_rate_that_changed_is_told_with_its_curve() -> None:
    """A mean alone would hide the peak that the phase was about."""
    assert wording.rate(11.0, "2 to 20") == "11/s on average (2 to 20)"
    assert wording.rate(4.0, "") == "4/s"
    assert "\x1b" not in wording.rate(4.0, "\x1b[2J")


def test_recovery_that_never_came_is_a_bound() -> None:
    """A censored time reads as more than what was seen, never as a time."""
    assert wording.recovery_time(40.0, True) == "> 40 s"
    assert wording.recovery_time(12.0, False) == "12 s"
    assert wording.recovery_time(None, False) == "–"


def test_facts_are_written_in_the_unit_of_their_key() -> None:
    """`_s`, `_ratio`, `_per_s` and `_bytes` say how a number is meant; the order is that of the keys."""
    mapping = {"rate_per_s": 4.0, "latency_s": 2.0, "lost_ratio": 0.01, "memory_bytes": 16_000_000_000}
    assert wording.facts(mapping) == ["latency 2 s", "lost 1 %", "memory 16.0 GB", "rate 4/s"]
    assert wording.facts({"probability": 0.1, "key": "results"}) == ["key results", "probability 10 %"]
    assert wording.facts({"nothing": None, "on": True, "list": [1, "b"]}) == ["list 1, b", "on yes"]


def test_the_worst_verdict_is_the_one_that_hides_the_others() -> None:
    """An error says more about a run than a failure, and a failure more than a pass."""
    assert wording.worst(["pass", "fail", "inconclusive"]) == "inconclusive"
    assert wording.worst(["pass", "warn"]) == "warn"
    assert wording.worst([]) is None
