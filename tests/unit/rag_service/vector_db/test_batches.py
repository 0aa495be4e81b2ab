"""Calls that had to wait are made together; nobody waits for company."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rag_service.vector_db.batches import Batches, TooManyWaiting

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Work:
    """Doubles numbers, remembers its batches, and waits while the gate is shut."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(items))
        assert self.gate.wait(10)
        if 13 in items:
            raise RuntimeError("unlucky")
        return [ValueError("odd one") if item == 7 else 2 * item for item in items]


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def _batches(work: Work, executor: ThreadPoolExecutor, **more: int) -> Batches[int, int]:
    limits = {"workers": 1, "max_batch": 8, "max_waiting": 8} | more
    return Batches(work, executor, **limits)


def test_a_call_alone_starts_at_once_and_those_behind_it_go_together(
    run: Run, executor: ThreadPoolExecutor
) -> None:
    """One in the first batch; everything that came meanwhile in the second, in order."""
    work = Work()

    async def scenario() -> list[int]:
        batches = _batches(work, executor)
        work.gate.clear()
        calls = [asyncio.ensure_future(batches.run(number)) for number in range(5)]
        await asyncio.sleep(0)
        work.gate.set()
        return await asyncio.gather(*calls)

    assert run(scenario()) == [0, 2, 4, 6, 8]
    assert work.batches == [[0], [1, 2, 3, 4]]


def test_a_batch_is_no_larger_than_allowed(run: Run, executor: ThreadPoolExecutor) -> None:
    """The rest waits for the next one."""
    work = Work()

    async def scenario() -> None:
        batches = _batches(work, executor, max_batch=3)
        work.gate.clear()
        calls = [asyncio.ensure_future(batches.run(number)) for number in range(6)]
        await asyncio.sleep(0)
        work.gate.set()
        await asyncio.gather(*calls)

    run(scenario())
    assert [len(batch) for batch in work.batches] == [1, 3, 2]


def test_a_batch_is_no_heavier_than_allowed(run: Run, executor: ThreadPoolExecutor) -> None:
    """Items are not alike; one that is too heavy by itself goes alone, and none overtakes another."""
    work = Work()

    async def scenario() -> None:
        batches = Batches(
            work, executor, workers=1, max_batch=10, max_waiting=20, weight=lambda number: number
        )
        work.gate.clear()
        calls = [asyncio.ensure_future(batches.run(number)) for number in (1, 4, 6, 1, 9, 2, 12, 3)]
        await asyncio.sleep(0)
        work.gate.set()
        await asyncio.gather(*calls)

    run(scenario())
    assert work.batches == [[1], [4, 6], [1, 9], [2], [12], [3]]


def test_one_too_many_is_refused_and_the_others_are_answered(run: Run, executor: ThreadPoolExecutor) -> None:
    """The queue has a bound, and a refused call is never made."""
    work = Work()

    async def scenario() -> list[Any]:
        batches = _batches(work, executor, max_waiting=2)
        work.gate.clear()
        calls = [asyncio.ensure_future(batches.run(number)) for number in range(4)]
        await asyncio.sleep(0)
        work.gate.set()
        return await asyncio.gather(*calls, return_exceptions=True)

    *answered, refused = run(scenario())
    assert answered == [0, 2, 4]
    assert isinstance(refused, TooManyWaiting)
    assert [3] not in work.batches


def test_a_failed_batch_fails_its_callers_and_no_others(run: Run, executor: ThreadPoolExecutor) -> None:
    """The next batch starts as if nothing had happened."""
    work = Work()

    async def scenario() -> list[Any]:
        batches = _batches(work, executor, max_batch=2)
        work.gate.clear()
        calls = [asyncio.ensure_future(batches.run(number)) for number in (1, 13, 2, 7, 3)]
        await asyncio.sleep(0)
        work.gate.set()
        return await asyncio.gather(*calls, return_exceptions=True)

    first, unlucky, beside, odd, last = run(scenario())
    assert (first, last) == (2, 6)
    assert isinstance(unlucky, RuntimeError) and isinstance(beside, RuntimeError)
    assert isinstance(odd, ValueError)


def test_a_caller_that_left_is_not_worked_for(run: Run, executor: ThreadPoolExecutor) -> None:
    """Cancelled while it waited: not in any batch."""
    work = Work()

    async def scenario() -> int:
        batches = _batches(work, executor)
        work.gate.clear()
        first, second, third = (asyncio.ensure_future(batches.run(number)) for number in range(3))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        work.gate.set()
        await first
        return await third

    assert run(scenario()) == 4
    assert work.batches == [[0], [2]]
