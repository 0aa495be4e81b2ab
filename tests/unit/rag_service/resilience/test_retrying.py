"""The retry loop: when, how often, how long between."""

from __future__ import annotations

import asyncio
import random

import pytest

from rag_service.errors import (
    BadStatus,
    CircuitOpen,
    ConnectionBroken,
    DependencyTimeout,
    DependencyUnreachable,
)
from rag_service.resilience.budget import RetryBudget
from rag_service.resilience.deadline import Deadline
from rag_service.resilience.retrying import RetryPolicy, retrying


class Calls:
    """A call that raises the given errors in turn, then succeeds."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.made = 0
        self.waits: list[float] = []

    async def sleep(self, seconds):
        self.waits.append(seconds)

    async def __call__(self):
        self.made += 1
        if self.errors:
            raise self.errors.pop(0)
        return "ok"


def attempt(calls, clock, *, patience_s=10.0, minimum=3):
    budget = RetryBudget(ratio=0.1, minimum=minimum, window_s=10.0, clock=clock)
    loop = retrying(
        RetryPolicy(),
        deadline=Deadline.after(patience_s, clock),
        budget=budget,
        rng=random.Random(1),
        sleep=calls.sleep,
    )
    return asyncio.run(_through(loop, calls))


async def _through(loop, calls):
    async for trial in loop:
        with trial:
            return await calls()
    raise AssertionError("unreachable")


@pytest.mark.parametrize("error", [DependencyUnreachable("db", "refused"), ConnectionBroken("db", "reset")])
def test_a_broken_connection_is_tried_once_more(clock, error):
    """One retry, after a random wait of 20 to 50 ms."""
    calls = Calls(error)
    assert attempt(calls, clock) == "ok"
    assert calls.made == 2
    assert 0.02 <= calls.waits[0] <= 0.05


@pytest.mark.parametrize(
    "error",
    [
        DependencyTimeout("db", 0.3),
        CircuitOpen("db", retry_after_s=1.0),
        BadStatus("db", 503),
        asyncio.CancelledError(),
        ValueError("a bug"),
    ],
)
def test_nothing_else_is_retried(clock, error):
    """A timeout, an open circuit, a status, a cancellation, a bug: retrying makes each of them worse."""
    calls = Calls(error)
    with pytest.raises(type(error)):
        attempt(calls, clock)
    assert calls.made == 1


def test_two_attempts_are_all(clock):
    """The last error is raised as it is."""
    last = DependencyUnreachable("db", "second")
    calls = Calls(DependencyUnreachable("db", "first"), last)
    with pytest.raises(DependencyUnreachable) as raised:
        attempt(calls, clock)
    assert raised.value is last
    assert calls.made == 2


def test_no_retry_that_the_deadline_would_cut(clock):
    """Too little patience left for the wait means no retry."""
    calls = Calls(DependencyUnreachable("db", "refused"))
    with pytest.raises(DependencyUnreachable):
        attempt(calls, clock, patience_s=0.04)
    assert calls.made == 1


def test_retries_stay_within_their_ratio_of_calls(clock):
    """Of 1,000 calls that all fail, at most 10 % are tried again."""
    budget = RetryBudget(ratio=0.1, minimum=3, window_s=10.0, clock=clock)
    attempts = 0
    for _ in range(1000):
        calls = Calls(DependencyUnreachable("db", "1"), DependencyUnreachable("db", "2"))
        loop = retrying(
            RetryPolicy(),
            deadline=Deadline.never(clock),
            budget=budget,
            rng=random.Random(1),
            sleep=calls.sleep,
        )
        with pytest.raises(DependencyUnreachable):
            asyncio.run(_through(loop, calls))
        attempts += calls.made
    assert 1050 < attempts <= 1101


def test_a_budget_refills_with_time(clock):
    """What was spent longer ago than the window is forgotten."""
    budget = RetryBudget(ratio=0.1, minimum=2, window_s=10.0, clock=clock)
    assert [budget.take() for _ in range(3)] == [True, True, False]
    clock.advance(10.1)
    assert budget.take()
