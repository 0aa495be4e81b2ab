"""The retry loop: when, how often, how long between."""

from __future__ import annotations

import asyncio
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_service.errors import (
    BadStatus,
    BulkheadFull,
    CircuitOpen,
    ConnectionBroken,
    DeadlineExceeded,
    DependencyTimeout,
    DependencyUnreachable,
    Pushback,
    QueueTimeout,
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


def attempt(calls, clock, *, patience_s=10.0, minimum=3, policy=None, spent=0):
    budget = RetryBudget(ratio=0.1, minimum=minimum, window_s=10.0, clock=clock)
    for _ in range(spent):
        budget.take()
    loop = retrying(
        policy or RetryPolicy(),
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
        BulkheadFull("db", 4),
        QueueTimeout("embedder", 0.1),
        DeadlineExceeded("the search"),
        BadStatus("db", 503),
        Pushback("db", 429),
        Pushback("db", 429, retry_after_s=0.0),
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


WAITING = RetryPolicy(max_retry_after_s=2.0, reserve_s=0.25)


def test_a_short_retry_after_is_waited_for_and_a_random_bit_more(clock):
    """Everybody was told the same second, so nobody comes back on it exactly."""
    calls = Calls(Pushback("llm", 429, retry_after_s=1.0))
    assert attempt(calls, clock, policy=WAITING) == "ok"
    assert calls.made == 2
    assert 1.02 <= calls.waits[0] <= 1.05


@pytest.mark.parametrize(
    ("retry_after_s", "patience_s", "made"),
    [
        (None, 10.0, 1),  # it did not say when
        (2.1, 10.0, 1),  # longer than we ever wait
        (1.0, 2.3, 1),  # less would be left for the attempt than was waited
        (1.0, 2.4, 2),
        (0.0, 0.34, 1),  # the fallback's reserve is not ours to wait with
        (0.0, 0.36, 2),
    ],
)
def test_pushback_is_repeated_only_where_its_wait_fits(clock, retry_after_s, patience_s, made):
    """The wait must be named, short, and leave as much again for the attempt before the reserve begins."""
    calls = Calls(Pushback("llm", 503, retry_after_s=retry_after_s))
    if made == 1:
        with pytest.raises(Pushback):
            attempt(calls, clock, policy=WAITING, patience_s=patience_s)
    else:
        attempt(calls, clock, policy=WAITING, patience_s=patience_s)
    assert calls.made == made


def test_repeating_pushback_costs_budget_too(clock):
    """A peer that keeps saying "in a second" is not asked again by everybody."""
    calls = Calls(Pushback("llm", 429, retry_after_s=0.1))
    with pytest.raises(Pushback):
        attempt(calls, clock, policy=WAITING, minimum=1, spent=1)
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


@given(
    pauses=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=80),
    ratio=st.floats(0.05, 0.5),
    minimum=st.integers(1, 5),
    attempts=st.integers(1, 4),
)
def test_attempts_never_exceed_one_plus_the_budget(pauses, ratio, minimum, attempts):
    """In any window, retries stay within max(minimum, ratio × calls), rounded up, though all calls fail."""
    now = [0.0]
    budget = RetryBudget(ratio=ratio, minimum=minimum, window_s=10.0, clock=lambda: now[0])
    begun, retried = [], []
    for pause_s in pauses:
        now[0] += pause_s
        begun.append(now[0])
        calls = Calls(*(DependencyUnreachable("db", "refused") for _ in range(attempts)))
        loop = retrying(
            RetryPolicy(attempts=attempts),
            deadline=Deadline.never(lambda: now[0]),
            budget=budget,
            rng=random.Random(1),
            sleep=calls.sleep,
        )
        with pytest.raises(DependencyUnreachable):
            asyncio.run(_through(loop, calls))
        assert calls.made <= attempts
        retried += [now[0]] * (calls.made - 1)
        recent = sum(at >= now[0] - 10.0 for at in retried)
        earned = sum(at >= now[0] - 10.0 for at in begun)
        if calls.made > 1:
            assert recent <= max(minimum, math.ceil(ratio * earned))


def test_what_is_left_of_a_budget_can_be_read(clock):
    """Metrics show it: three at first, one fewer after each retry."""
    budget = RetryBudget(ratio=0.1, minimum=3, window_s=10.0, clock=clock)
    assert budget.remaining == 3
    budget.take()
    assert budget.remaining == 2
