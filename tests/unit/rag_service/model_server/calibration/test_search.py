"""The search finds its way where derivatives are noise, and leaves one spoilt figure alone."""

import math
from dataclasses import astuple
from random import Random

import pytest

from rag_service.model_server.calibration.live.search import search
from rag_service.model_server.cost import MAX_JITTER_RATIO, Cost

TRUE = Cost(base_s=0.004, decode_sequence_s=0.0003, request_s=0.01, jitter_ratio=0.3)
NAMES = ("base_s", "decode_sequence_s", "request_s")


def figures(cost: Cost) -> list[float]:
    """What four loads would show, each with a step of 2 % as percentiles have them."""
    exact = [cost.base_s + n * cost.decode_sequence_s for n in (1, 8, 32)] + [cost.request_s + cost.base_s]
    return [math.exp(round(math.log(one) / 0.02) * 0.02) for one in exact]


def missed(cost: Cost) -> list[float]:
    return [math.log(now / was) for now, was in zip(figures(cost), figures(TRUE), strict=True)]


def test_it_finds_the_cost_in_spite_of_steps() -> None:
    """From a guess that is off by half and more; what is not named stays."""
    found = search(Cost(0.007, 0.0, 0.0001, 0.004, jitter_ratio=0.2), NAMES, missed, Random(1))
    for name in NAMES:
        assert getattr(found.cost, name) == pytest.approx(getattr(TRUE, name), rel=0.1), name
    assert found.cost.jitter_ratio == 0.2
    assert found.error_ratio < 0.05


def test_one_spoilt_figure_does_not_pull_the_others() -> None:
    """A second of something else makes one percentile ten times as large."""

    def spoilt(cost: Cost) -> list[float]:
        return [*missed(cost), math.log(figures(cost)[1] / (10 * figures(TRUE)[1]))]

    found = search(Cost(0.007, 0.0, 0.0001, 0.004), NAMES, spoilt, Random(1))
    assert found.cost.base_s + 8 * found.cost.decode_sequence_s == pytest.approx(0.0064, rel=0.2)
    assert found.error_ratio > 0.5


def test_the_jitter_stays_within_what_is_allowed() -> None:
    """Even when more would fit better."""
    start = Cost(0.004, jitter_ratio=0.5)
    found = search(start, ("jitter_ratio",), lambda cost: [math.log(cost.jitter_ratio / 5)], Random(1))
    assert found.cost.jitter_ratio == MAX_JITTER_RATIO
    assert astuple(found.cost)[:-1] == astuple(start)[:-1]


def test_a_parameter_that_starts_at_nothing_is_refused() -> None:
    """No factor leads away from 0."""
    with pytest.raises(ValueError, match="prompt_token_s starts at 0"):
        search(TRUE, ("base_s", "prompt_token_s"), lambda _: [0.0], Random(1))
