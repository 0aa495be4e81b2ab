"""Calls that arrive while another is under way are made together: one FAISS call, one sync of the log.

Nothing waits for company. A call that finds a free worker starts at once, alone; only those that would have
had to wait anyway become a batch. So the batch grows with the load and costs nothing without it. What a batch
may cost is bounded by what its items weigh, not by how many there are: one caller may ask for as much as 64.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class TooManyWaiting(Exception):
    """The queue is full; the call was not made."""


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    answer: asyncio.Future[Result]


class Batches(Generic[Item, Result]):
    """Runs `work` on lists of items, in `executor`, at most `workers` lists at a time.

    `work` returns a result or an exception for each item; what it raises reaches every caller of that batch.
    The weights of a list sum up to `max_batch` at most, but for an item that weighs more by itself.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[Result | Exception]],
        executor: Executor,
        *,
        workers: int,
        max_batch: int,
        max_waiting: int,
        weight: Callable[[Item], int] = lambda _: 1,
    ) -> None:
        self._work = work
        self._executor = executor
        self._idle = workers
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._weight = weight
        self._waiting: deque[_Waiting[Item, Result]] = deque()

    async def run(self, item: Item) -> Result:
        """The result for this item. Raises TooManyWaiting when the queue is full."""
        if len(self._waiting) >= self._max_waiting:
            raise TooManyWaiting
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(item, answer))
        self._start()
        return await answer

    def _start(self) -> None:
        while self._idle and self._waiting:
            batch = self._next_batch()
            if not batch:
                return
            self._idle -= 1
            items = [waiting.item for waiting in batch]
            future = asyncio.get_running_loop().run_in_executor(self._executor, self._work, items)
            future.add_done_callback(lambda done, batch=batch: self._finish(batch, done))  # type: ignore[misc]

    def _next_batch(self) -> list[_Waiting[Item, Result]]:
        batch: list[_Waiting[Item, Result]] = []
        room = self._max_batch
        while self._waiting:
            weight = self._weight(self._waiting[0].item)
            if batch and weight > room:
                break
            waiting = self._waiting.popleft()
            if not waiting.answer.cancelled():
                batch.append(waiting)
                room -= weight
        return batch

    def _finish(
        self, batch: Sequence[_Waiting[Item, Result]], done: asyncio.Future[Sequence[Result | Exception]]
    ) -> None:
        self._idle += 1
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        for number, waiting in enumerate(batch):
            if waiting.answer.done():
                continue
            result = done.result()[number] if error is None else error
            if isinstance(result, BaseException):
                waiting.answer.set_exception(result)
            else:
                waiting.answer.set_result(result)
        self._start()
