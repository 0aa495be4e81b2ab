"""Judges a token stream by its tokens.

A byte timeout is no stall detector: an SSE `: ping` every 100 ms kept a dead stream alive for ten times its
read timeout. `data: [DONE]` is no proof of success: vLLM ends aborted answers with HTTP 200,
`finish_reason: "abort"`, then `[DONE]`. So this guard times the events that carry text (first token, then
gaps), stops at the caller's deadline, and accepts only `stop` and `length` as an end. The `finish_reason`
decides: what the connection does after it (breaks, falls silent, never says `[DONE]`) takes nothing from an
answer that is whole.

Only waiting is timed, never the caller's own work between two tokens. One timer serves a whole stream: a
token merely moves the moment that it looks at, because setting up `asyncio.timeout` anew for each token took
as long as parsing it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from rag_service.errors import ConnectionBroken, DeadlineExceeded, DependencyTimeout, StreamFailed
from rag_service.resilience.deadline import Deadline, Limit

GOOD_ENDINGS = frozenset({"stop", "length"})


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the model server counted them."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Delta:
    """One event of the upstream stream; only one with text counts as a token."""

    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None


class Watch:
    """Ends a wait that lasts beyond its moment, with one timer for any number of waits.

    A wait that has ended leaves the timer running. When it fires it looks whether a wait is on now and when
    that one ends: it cancels, sleeps on, or goes away.
    """

    __slots__ = ("_cancelled", "_cancelling", "_due", "_loop", "_task", "_timer", "_until")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None
        self._due = 0.0  # uvloop's handle of a timer that is due at once has no `when`
        self._task: asyncio.Task[Any] | None = None
        self._until = 0.0
        self._cancelling = 0
        self._cancelled = False

    def begin(self, limit_s: float) -> None:
        """The running task is about to wait, at most `limit_s`."""
        self._task = task = asyncio.current_task()
        assert task is not None, "only a task can wait"
        self._cancelling = task.cancelling()
        self._until = self._loop.time() + limit_s
        if self._timer is None or self._due > self._until:
            self._arm()

    def end(self) -> bool:
        """The wait is over. True when the watch ended it; its cancellation is taken back then."""
        task, self._task = self._task, None
        cancelled, self._cancelled = self._cancelled, False
        return cancelled and task is not None and task.uncancel() <= self._cancelling

    def stop(self) -> None:
        """No more waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self.stop()
        if self._until < float("inf"):
            self._timer = self._loop.call_at(self._until, self._look)
            self._due = self._until

    def _look(self) -> None:
        self._timer = None
        if self._task is None:
            return
        if self._loop.time() < self._until:
            self._arm()
            return
        self._cancelled = True
        self._task.cancel()


class TokenGuard:
    """Yields the text of a stream of deltas, or raises what went wrong; afterwards says how it ended."""

    def __init__(
        self, dependency: str, deltas: AsyncIterator[Delta], *, gap_s: float, deadline: Deadline
    ) -> None:
        self._dependency = dependency
        self._deltas = deltas
        self._gap_s = gap_s
        self._deadline = deadline
        self._watch = Watch()
        self._primed: str | None = None
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.tokens = 0

    async def prime(self, limit: Limit) -> None:
        """Wait for the first token, the commit point, and keep it for the first `__anext__`."""
        self._watch.begin(limit.limit_s)
        try:
            self._primed = await self._next_text()
        except asyncio.CancelledError:
            if not self._watch.end():
                raise
            raise DependencyTimeout(self._dependency, limit.limit_s, by_deadline=limit.by_deadline) from None
        except StopAsyncIteration:
            raise self._unstarted() from None
        finally:
            self._watch.end()

    def __aiter__(self) -> TokenGuard:
        return self

    async def __anext__(self) -> str:
        if self._primed is not None:
            text, self._primed = self._primed, None
            self.tokens += 1
            return text
        limit_s, by_deadline = self._gap_s, False
        left_s = self._deadline.expires_at - self._deadline.clock()
        if left_s < limit_s:
            limit_s, by_deadline = left_s, True
            if left_s <= 0.0:
                raise DeadlineExceeded("the answer's stream")
        self._watch.begin(limit_s)
        try:
            text = await self._next_text()
        except asyncio.CancelledError:
            if not self._watch.end():
                raise
            if self.finish_reason is not None:
                self._check_ending()
                raise StopAsyncIteration from None
            if by_deadline:
                raise DeadlineExceeded("the answer's stream") from None
            raise StreamFailed(
                self._dependency, f"no token for {limit_s:g} s in mid-answer", reason="llm_stalled"
            ) from None
        finally:
            self._watch.end()
        self.tokens += 1
        return text

    def close(self) -> None:
        """Nothing will be waited for any more."""
        self._watch.stop()

    async def _next_text(self) -> str:
        """The next delta that carries text; StopAsyncIteration only after a good ending."""
        while True:
            try:
                delta = await anext(self._deltas)
            except StopAsyncIteration:
                self._check_ending()
                raise
            except ConnectionBroken:
                if self.finish_reason is None:
                    raise
                self._check_ending()
                raise StopAsyncIteration from None
            if delta.finish_reason is not None:
                self.finish_reason = delta.finish_reason
            if delta.usage is not None:
                self.usage = delta.usage
            if delta.text:
                return delta.text

    def _check_ending(self) -> None:
        if self.finish_reason is None:
            raise StreamFailed(
                self._dependency, "the stream ended without a finish_reason", reason="llm_stream_cut"
            )
        if self.finish_reason not in GOOD_ENDINGS:
            detail = f"finish_reason is {self.finish_reason!r}, allowed are stop and length"
            raise StreamFailed(self._dependency, detail, reason="llm_aborted")

    def _unstarted(self) -> StreamFailed:
        return StreamFailed(self._dependency, "the answer has no token", reason="llm_empty")
