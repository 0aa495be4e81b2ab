"""Limits of open files: how low one must be to leave so many free."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chaos.processes.files import free_below, limit_leaving

NUMBERS = st.sets(st.integers(0, 60), max_size=60)


@given(numbers=NUMBERS, leave=st.integers(0, 80))
def test_under_the_limit_exactly_so_many_are_free(numbers: set[int], leave: int) -> None:
    """Whatever the gaps between the numbers in use: not one more can be opened, and not one less."""
    assert free_below(numbers, limit_leaving(numbers, leave)) == leave


@given(numbers=NUMBERS, leave=st.integers(0, 80))
def test_no_higher_limit_leaves_as_few(numbers: set[int], leave: int) -> None:
    """It takes away no more than it must: what is in use stays below it for as long as possible."""
    limit = limit_leaving(numbers, leave)
    assert all(free_below(numbers, higher) > leave for higher in range(limit + 1, limit + 70))


def test_without_gaps_it_is_as_many_as_are_open() -> None:
    """The usual case: numbers from 0 on, none missing."""
    assert limit_leaving(range(12), 3) == 15
