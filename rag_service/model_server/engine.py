"""The running of sequences: a place, a wait for the first token, then token after token in due time.

Due times are absolute, so a late wake-up is caught up with rather than added to every later token. Leaving
`place` frees the slot or the place in the queue, whatever the reason for leaving: that is the whole of
what happens when a client hangs up.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

from rag_service.model_server.openai import Completion
from rag_service.model_server.pace import Pace
from rag_service.model_server.scheduler import Load, Scheduler, State


class Engine:
    """Runs completions under one scheduler on the current event loop, and counts what vLLM counts."""

    def __init__(self, scheduler: Scheduler, pace: Pace) -> None:
        self._scheduler = scheduler
        self._pace = pace
        self._numbers = count(1)
        self._admissions: dict[int, asyncio.Future[None]] = {}
        self.received = 0
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.finished: Counter[str] = Counter({"stop": 0, "length": 0, "abort": 0})

    @property
    def load(self) -> Load:
        return self._scheduler.load

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place in the running set, waited for in turn. Raises QueueFull."""
        sequence = next(self._numbers)
        state = self._scheduler.submit(sequence)
        try:
            if state is State.WAITING:
                self._admissions[sequence] = asyncio.get_running_loop().create_future()
                await self._admissions[sequence]
            yield
        finally:
            self._admissions.pop(sequence, None)
            admitted = self._scheduler.finish(sequence)
            if admitted is not None:
                waiter = self._admissions[admitted]
                if not waiter.done():  # cancelled in this very tick: its own `finally` passes the place on
                    waiter.set_result(None)

    async def tokens(
        self, completion: Completion, before: Callable[[int], Awaitable[None]] | None = None
    ) -> AsyncGenerator[str, None]:
        """The tokens of a completion, each when it is due.

        `before` is awaited with each token's position, and once more after the last; the time that it takes
        shifts everything that follows.
        """
        loop = asyncio.get_running_loop()
        self.prompt_tokens += completion.prompt_tokens
        due_s = loop.time() + self._pace.first_token_s()
        reason = "abort"
        try:
            for position, token in enumerate(completion.tokens):
                if before is not None:
                    held_since_s = loop.time()
                    await before(position)
                    due_s += loop.time() - held_since_s
                await asyncio.sleep(max(due_s - loop.time(), 0.0))
                due_s += self._pace.token_s()
                self.generation_tokens += 1
                yield token
            if before is not None:
                await before(len(completion.tokens))
            reason = completion.finish_reason
        finally:
            self.finished[reason] += 1
