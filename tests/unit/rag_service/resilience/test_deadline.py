"""Deadlines: one patience for all attempts."""

from __future__ import annotations

import asyncio

import pytest

from rag_service.errors import DeadlineExceeded
from rag_service.resilience.deadline import Deadline, current_deadline, set_deadline


def test_an_attempt_gets_the_smaller_of_its_cap_and_what_is_left(clock):
    """Early the cap rules, late the deadline does, and the limit says which."""
    deadline = Deadline.after(1.0, clock)
    assert deadline.limit(0.3, doing="x").limit_s == 0.3
    assert not deadline.limit(0.3, doing="x").by_deadline
    clock.advance(0.9)
    late = deadline.limit(0.3, doing="x")
    assert late.limit_s == pytest.approx(0.1)
    assert late.by_deadline


def test_the_reserve_is_kept_for_the_fallback(clock):
    """No attempt may use the time that the next rung needs."""
    deadline = Deadline.after(1.0, clock)
    assert deadline.limit(5.0, doing="x", reserve_s=0.25).limit_s == pytest.approx(0.75)
    clock.advance(0.8)
    with pytest.raises(DeadlineExceeded, match="the search"):
        deadline.limit(5.0, doing="the search", reserve_s=0.25)


def test_nothing_starts_after_the_deadline(clock):
    """With nothing left there is no limit to give."""
    deadline = Deadline.after(1.0, clock)
    clock.advance(1.0)
    assert deadline.remaining_s() == 0.0
    with pytest.raises(DeadlineExceeded):
        deadline.limit(0.3, doing="x")


def test_a_deadline_is_inherited_by_tasks_and_not_shared_between_requests():
    """Each request's tasks see its own; outside of a request there is none."""

    async def request(patience_s):
        set_deadline(Deadline.after(patience_s, lambda: 0.0))

        async def inner():
            await asyncio.sleep(0)
            return current_deadline().expires_at

        return await asyncio.create_task(inner())

    async def both():
        return await asyncio.gather(request(1.0), request(2.0))

    assert asyncio.run(both()) == [1.0, 2.0]
    assert current_deadline().limit(0.3, doing="x").limit_s == 0.3


def test_a_share_for_those_who_come_after_is_half_of_what_is_left_at_most():
    """The whole reserve while there is plenty, half of it all when there is not, nothing of nothing."""
    for left_s, share_s in ((10.0, 0.25), (0.28, 0.14), (0.0, 0.0)):
        assert Deadline.after(left_s, clock=lambda: 5.0).share(0.25) == pytest.approx(share_s)
    assert Deadline.never().share(0.25) == 0.25
