"""The one retry loop of a call path, through tenacity.

tenacity's bare `@retry` never ends and never waits, and `retry_if_not_exception_type` retries even a
cancellation, so every use goes through this one factory: two attempts, only where the error itself says
that a fresh connection may help (never a timeout, an open circuit or a full bulkhead), a random wait over
the whole range (so that callers who failed together do not return together), and only while both the
budget and the caller's deadline, less what a fallback needs, allow it.

Pushback is repeated only when the peer named a time and that time is short: it is waited for (and a random
bit more, since everybody was told the same), if at least as much is left for the attempt afterwards.

    >>> from rag_service.errors import ConnectionBroken
    >>> budget = RetryBudget(ratio=0.1, minimum=3, window_s=10.0, clock=lambda: 0.0)
    >>> async def flaky(number):
    ...     if number == 1:
    ...         raise ConnectionBroken("vector_db", "reset")
    ...     return f"attempt {number}"
    >>> async def call():
    ...     loop = retrying(RetryPolicy(), deadline=Deadline.never(), budget=budget, rng=random.Random())
    ...     async for trial in loop:
    ...         with trial:
    ...             return await flaky(trial.retry_state.attempt_number)
    >>> asyncio.run(call())
    'attempt 2'
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import tenacity

from rag_service.errors import DependencyError, Pushback
from rag_service.resilience.budget import RetryBudget
from rag_service.resilience.deadline import Deadline


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """One retry after 20 to 50 ms, within 10 % of all calls.

    A `Retry-After` of up to `max_retry_after_s` is waited for (0: none); `reserve_s` of the deadline belongs
    to the fallback and is never spent on waiting.
    """

    attempts: int = 2
    min_wait_s: float = 0.02
    max_wait_s: float = 0.05
    max_retry_after_s: float = 0.0
    reserve_s: float = 0.0


def retrying(
    policy: RetryPolicy,
    *,
    deadline: Deadline,
    budget: RetryBudget,
    rng: random.Random,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> tenacity.AsyncRetrying:
    """The loop for one call; the last error is raised as it is."""

    def worthwhile(error: BaseException) -> bool:
        left_s = deadline.remaining_s() - policy.reserve_s
        if isinstance(error, Pushback):
            wait_s = error.retry_after_s
            if wait_s is None or not policy.max_retry_after_s or wait_s > policy.max_retry_after_s:
                return False
            return 2.0 * (wait_s + policy.max_wait_s) <= left_s
        return isinstance(error, DependencyError) and error.retryable and left_s > policy.max_wait_s

    def wait_s(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked_s = (error.retry_after_s or 0.0) if isinstance(error, Pushback) else 0.0
        return asked_s + rng.uniform(policy.min_wait_s, policy.max_wait_s)

    def exhausted(state: tenacity.RetryCallState) -> bool:
        return state.attempt_number >= policy.attempts or not budget.take()

    budget.call()
    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(worthwhile),
        stop=exhausted,
        wait=wait_s,
        sleep=sleep,
        reraise=True,
    )
