"""What tenacity 9 does when it is used without the one factory, and what the factory does instead."""

from __future__ import annotations

import asyncio
import random

import pytest
import tenacity

from rag_service.errors import ConnectionBroken
from rag_service.resilience.budget import RetryBudget
from rag_service.resilience.deadline import Deadline
from rag_service.resilience.retrying import RetryPolicy, retrying


def ours(clock):
    budget = RetryBudget(ratio=0.1, minimum=3, window_s=10.0, clock=clock)
    return retrying(RetryPolicy(), deadline=Deadline.never(clock), budget=budget, rng=random.Random(1))


async def _through(loop, call):
    async for trial in loop:
        with trial:
            return await call()
    raise AssertionError("unreachable")


def test_bare_retry_has_no_end_and_no_wait():
    """`@retry` alone: stop never, wait nothing."""
    bare = tenacity.AsyncRetrying()
    assert bare.stop is tenacity.stop_never
    assert isinstance(bare.wait, tenacity.wait_none)


@pytest.mark.parametrize(
    ("mine", "calls"), [pytest.param(False, 2, id="tenacity-2"), pytest.param(True, 1, id="factory-1")]
)
def test_calls_made_when_the_caller_cancels(run, clock, mine, calls):
    """`retry_if_not_exception_type` takes a cancellation for an error, and calls again for nobody."""
    made = 0

    async def call():
        nonlocal made
        made += 1
        if made == 1:
            await asyncio.sleep(60.0)
        return made

    async def caller():
        plain = tenacity.AsyncRetrying(retry=tenacity.retry_if_not_exception_type(ValueError))
        task = asyncio.create_task(_through(ours(clock) if mine else plain, call))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert run(caller()) is mine
    assert made == calls


def test_stop_after_delay_never_interrupts_an_attempt(run, clock, monkeypatch):
    """A limit of 0.1 s took 0.3 s: it is asked between attempts, so each attempt needs a limit of its own."""
    monkeypatch.setattr("time.monotonic", clock)

    async def slow():
        await asyncio.sleep(0.3)
        raise ConnectionBroken("db", "reset")

    began = clock.now
    with pytest.raises(ConnectionBroken):
        run(_through(tenacity.AsyncRetrying(stop=tenacity.stop_after_delay(0.1), reraise=True), slow))
    assert clock.now - began == pytest.approx(0.3)


def test_exponential_jitter_is_not_full_jitter():
    """`wait_exponential_jitter` adds at most a second to a wait that is the same for all who failed."""
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = 5
    waits = [tenacity.wait_exponential_jitter(initial=1.0, max=60.0, jitter=1.0)(state) for _ in range(200)]
    assert min(waits) >= 16.0
    assert max(waits) <= 17.0
