"""Judges a token stream by its tokens.

A byte timeout is no stall detector: an SSE `: ping` every 100 ms kept a dead stream alive for ten times its
read timeout. `data: [DONE]` is no proof of success: vLLM ends aborted answers with HTTP 200,
`finish_reason: "abort"`, then `[DONE]`. So this guard times the events that carry text (first token, then
gaps), stops at the caller's deadline, and accepts only `stop` and `length` as an end. Each wait is
timed by itself, because `asyncio.timeout` must not span a `yield`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from rag_service.errors import DeadlineExceeded, DependencyTimeout, StreamFailed
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


class TokenGuard:
    """Yields the text of a stream of deltas, or raises what went wrong; afterwards says how it ended."""

    def __init__(
        self, dependency: str, deltas: AsyncIterator[Delta], *, gap_s: float, deadline: Deadline
    ) -> None:
        self._dependency = dependency
        self._deltas = deltas
        self._gap_s = gap_s
        self._deadline = deadline
        self._primed: str | None = None
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.tokens = 0

    async def prime(self, limit: Limit) -> None:
        """Wait for the first token, the commit point, and keep it for the first `__anext__`."""
        try:
            async with asyncio.timeout(limit.limit_s):
                self._primed = await self._next_text()
        except TimeoutError:
            raise DependencyTimeout(self._dependency, limit.limit_s, by_deadline=limit.by_deadline) from None
        except StopAsyncIteration:
            raise self._unstarted() from None

    def __aiter__(self) -> TokenGuard:
        return self

    async def __anext__(self) -> str:
        if self._primed is not None:
            text, self._primed = self._primed, None
            self.tokens += 1
            return text
        limit = self._deadline.limit(self._gap_s, doing="the answer's stream")
        try:
            async with asyncio.timeout(limit.limit_s):
                text = await self._next_text()
        except TimeoutError:
            if limit.by_deadline:
                raise DeadlineExceeded("the answer's stream") from None
            raise StreamFailed(
                self._dependency, f"no token for {limit.limit_s:g} s in mid-answer", reason="llm_stalled"
            ) from None
        self.tokens += 1
        return text

    async def _next_text(self) -> str:
        """The next delta that carries text; StopAsyncIteration only after a good ending."""
        while True:
            try:
                delta = await anext(self._deltas)
            except StopAsyncIteration:
                self._check_ending()
                raise
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
