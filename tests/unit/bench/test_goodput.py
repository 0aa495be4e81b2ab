"""What counts as a good answer, and when a generator is not to be believed."""

from __future__ import annotations

import pytest

from bench.generator import Load
from bench.goodput import Limits
from bench.load import Exchange

LIMITS = Limits(first_token_s=1.5, total_s=4.0)


def exchange(**changes):
    good = {"status": 200, "outcome": "full", "first_s": 0.5, "total_s": 2.0, "ending": "done"}
    return Exchange(due=0.0, **(good | changes))


@pytest.mark.parametrize("outcome", ["full", "degraded", "cached", ""])
def test_a_whole_answer_in_time_is_good(outcome):
    """Full, degraded and saying so, or from a service that has no such word."""
    assert LIMITS.good(exchange(outcome=outcome))


@pytest.mark.parametrize(
    "changes",
    [
        {"first_s": 1.6},
        {"total_s": 4.1},
        {"status": 503},
        {"ending": "error"},
        {"ending": "cut"},
        {"ending": "given_up", "total_s": None},
        {"first_s": None, "total_s": None, "status": 0},
    ],
)
def test_late_refused_failed_and_cut_answers_are_not(changes):
    """Each of them alone is enough."""
    assert not LIMITS.good(exchange(**changes))


@pytest.mark.parametrize(
    ("cpu_s", "lag_s", "believed"), [(1.0, 0.01, True), (9.0, 0.01, False), (1.0, 0.5, False)]
)
def test_a_generator_that_was_busy_or_late_is_not_believed(cpu_s, lag_s, believed):
    """Its own load or lateness would pass for the service's."""
    asked = tuple(Exchange(due=0.0, lag_s=lag_s) for _ in range(100))
    assert Load(asked, wall_s=10.0, cpu_s=cpu_s).trustworthy is believed
