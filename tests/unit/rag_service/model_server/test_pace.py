"""Delays jitter around what was asked for."""

from random import Random

from rag_service.model_server.pace import JITTER_RATIO, Pace


def test_delays_stay_within_the_jitter_and_have_the_mean_that_was_asked_for() -> None:
    """Ten per cent either way, and no drift over many tokens."""
    pace = Pace(0.08, 0.008, Random(1))
    delays = [pace.token_s() for _ in range(5000)]
    assert min(delays) >= 0.008 * (1 - JITTER_RATIO)
    assert max(delays) <= 0.008 * (1 + JITTER_RATIO)
    assert abs(sum(delays) / len(delays) - 0.008) < 0.0001
    assert 0.072 <= pace.first_token_s() <= 0.088


def test_the_same_seed_gives_the_same_delays() -> None:
    """A run can be repeated; another seed differs."""
    first, again, other = (Pace(1, 1, Random(seed)).token_s() for seed in (1, 1, 2))
    assert first == again != other
