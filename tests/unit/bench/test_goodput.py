"""What counts as a good answer, and when a generator is not to be believed."""

from __future__ import annotations

import pytest

from bench import goodput
from bench.generator import Load
from bench.goodput import Limits, Peer, Shares, find_capacity, from_model, measure_level
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
    ("rung", "made"),
    [
        ("full", True),
        ("brief", True),
        ("lexical", True),
        ("", True),
        ("extractive", False),
        ("nothing_found", False),
        ("exact_cache", False),
        ("semantic_cache", False),
    ],
)
def test_an_extract_is_not_from_the_model(rung, made):
    """Nor is a kept answer; a service without rungs has nothing but the model."""
    assert from_model(exchange(rung=rung)) is made


def test_degraded_answers_are_split_by_what_was_done_instead():
    """Ten answers, four of them full."""
    rungs = ["full"] * 4 + ["brief", "lexical", "lexical", "extractive", "nothing_found", "exact_cache"]
    shares = Shares.of([exchange(rung=rung) for rung in rungs])
    assert (shares.brief, shares.lexical, shares.extract, shares.cached) == (0.1, 0.2, 0.2, 0.1)


def test_extracts_are_goodput_but_neither_capacity_nor_the_models(monkeypatch):
    """Twenty extracts beside four answers of the model in two seconds: twelve a second, of which two."""
    answered = tuple(exchange(rung=rung) for rung in ["full"] * 4 + ["extractive"] * 20)
    monkeypatch.setattr(goodput, "load", lambda *_, **__: Load(answered, wall_s=2.0, cpu_s=0.1))
    monkeypatch.setattr(goodput, "_wait_until_idle", lambda _: None)

    class Running:
        name, url = "resilience on", "http://nobody"

    peer = Peer(Running(), observed=False)
    assert find_capacity(peer, ["?"], LIMITS, callers=(8,), seconds=2.0, say=str) == 2.0
    level = measure_level(peer, ["?"], LIMITS, multiple=10.0, capacity=2.0, seconds=2.0)
    assert (level.goodput_per_s, level.from_model_per_s) == (12.0, 2.0)


@pytest.mark.parametrize(
    ("cpu_s", "lag_s", "believed"), [(1.0, 0.01, True), (9.0, 0.01, False), (1.0, 0.5, False)]
)
def test_a_generator_that_was_busy_or_late_is_not_believed(cpu_s, lag_s, believed):
    """Its own load or lateness would pass for the service's."""
    asked = tuple(Exchange(due=0.0, lag_s=lag_s) for _ in range(100))
    assert Load(asked, wall_s=10.0, cpu_s=cpu_s).trustworthy is believed
