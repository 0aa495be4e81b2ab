"""The same load comes out of the same seed, and every level has enough requests that count."""

import pytest

from rag_service.model_server.calibration.live.load import Range, levels, parse_range, warm_up


def test_a_level_has_callers_rounds_before_and_company_after() -> None:
    """Requests that count are neither the first of their callers nor sent when callers have run out."""
    found = levels((1, 8, 32), Range(32, 64), Range(8, 16), 120, seed=1)
    assert [(one.concurrency, one.first, one.count, len(one.asks)) for one in found] == [
        (1, 2, 120, 123),
        (8, 16, 360, 384),
        (32, 64, 512, 608),
    ]
    for one in found:
        assert len(one.asks[one.counted]) == one.count
        assert {ask.prompt_tokens for ask in one.asks} <= set(range(32, 65))
        assert {ask.output_tokens for ask in one.asks} <= set(range(8, 17))


def test_the_seed_decides() -> None:
    """Equal seeds ask the same; others ask something else."""
    wanted = ((1, 8), Range(32, 512), Range(8, 64), 40)
    assert levels(*wanted, seed=1) == levels(*wanted, seed=1) != levels(*wanted, seed=2)


def test_a_warm_up_is_the_rounds_before_those_that_count() -> None:
    """With as many callers, so that the batches are as full."""
    (level,) = levels((8,), Range(32, 64), Range(8, 16), 40, seed=1)
    found = warm_up(level)
    assert (found.concurrency, found.asks, found.count) == (8, level.asks[:16], 16)


def test_ranges() -> None:
    """One number is a range, too."""
    assert parse_range("64-512", least=1, most=1000) == Range(64, 512)
    assert parse_range("128", least=1, most=1000) == Range(128, 128)
    assert (str(Range(1, 2)), str(Range(3, 3))) == ("1-2", "3")


@pytest.mark.parametrize("text", ["", "0-5", "9-5", "5-1001", "a", "-5", "5-", "1.5", "1-2-3"])
def test_what_is_no_range_is_refused(text: str) -> None:
    """With what is allowed."""
    with pytest.raises(ValueError, match="from 1 to 1000"):
        parse_range(text, least=1, most=1000)
