"""A second attempt at a search whose first one is late, and whichever answers first.

It helps where lateness is bad luck of one connection or one replica ("The Tail at Scale": after about the
p95, for some 5 % more load), and does harm where everything is slow. So it is off by default and held
back from four sides: a budget (5 % of calls), never while the breaker is not closed, never while more than
half of the bulkhead is taken, and the loser is cancelled at once. A cancelled loser is neutral for the
breaker while young: counting losers as failures made an 18 % failure rate out of a healthy dependency. An old
one counts as slow, for it was.

Generations are never hedged: two streams cost the model twice, and only one could be shown.

    >>> import asyncio
    >>> from rag_service.resilience.budget import RetryBudget
    >>> budget = RetryBudget(ratio=0.05, minimum=1, window_s=10.0, clock=lambda: 0.0)
    >>> hedge = Hedge(FixedDelay(0.01), budget, clock=lambda: 0.0)
    >>> async def late(): await asyncio.sleep(60.0)
    >>> async def prompt(): return "found"
    >>> asyncio.run(hedge.run(late, prompt, allowed=lambda: True))
    'found'
"""

from __future__ import annotations

import asyncio
import bisect
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from rag_service.resilience.budget import RetryBudget
from rag_service.resilience.deadline import Clock

T = TypeVar("T")


class Delay(Protocol):
    """How long a first attempt may take before a second one is worth it."""

    @property
    def delay_s(self) -> float: ...
    def observe(self, latency_s: float) -> None: ...


class FixedDelay:
    """Always the same."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s

    @property
    def delay_s(self) -> float:
        return self._delay_s

    def observe(self, latency_s: float) -> None:
        """Nothing to learn."""


class RecentQuantile:
    """The p95 of the last 200 results, between a floor and a cap; the cap until 20 are known."""

    _KEPT = 200
    _ENOUGH = 20

    def __init__(self, *, floor_s: float, cap_s: float, quantile: float = 0.95) -> None:
        self._floor_s = floor_s
        self._cap_s = cap_s
        self._quantile = quantile
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []

    @property
    def delay_s(self) -> float:
        if len(self._sorted) < self._ENOUGH:
            return self._cap_s
        value = self._sorted[min(len(self._sorted) - 1, int(self._quantile * len(self._sorted)))]
        return min(self._cap_s, max(self._floor_s, value))

    def observe(self, latency_s: float) -> None:
        if len(self._recent) == self._KEPT:
            del self._sorted[bisect.bisect_left(self._sorted, self._recent.popleft())]
        self._recent.append(latency_s)
        bisect.insort(self._sorted, latency_s)


class Hedge:
    """Races a late call against a second one. Leaves no task behind, however it ends."""

    def __init__(self, delay: Delay, budget: RetryBudget, *, clock: Clock) -> None:
        self.budget = budget
        self._delay = delay
        self._clock = clock

    async def run(
        self,
        first: Callable[[], Coroutine[Any, Any, T]],
        second: Callable[[], Coroutine[Any, Any, T]],
        *,
        allowed: Callable[[], bool],
    ) -> T:
        """The first success of the two; the first call's error when there is none."""
        self.budget.call()
        started = self._clock()
        tasks = [asyncio.create_task(first())]
        try:
            done, _ = await asyncio.wait(tasks, timeout=self._delay.delay_s)
            if not done and allowed() and self.budget.take():
                tasks.append(asyncio.create_task(second()))
            result = await _first_success(tasks)
            self._delay.observe(self._clock() - started)
            return result
        finally:
            await _end(tasks)


async def _first_success(tasks: list[asyncio.Task[T]]) -> T:
    pending = set(tasks)
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task in done and not task.cancelled() and task.exception() is None:
                return task.result()
    return tasks[0].result()


async def _end(tasks: list[asyncio.Task[T]]) -> None:
    """Cancel what still runs and wait until it has: its permit is settled and its connection closed then."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # asked for, or asyncio would report it as never seen
