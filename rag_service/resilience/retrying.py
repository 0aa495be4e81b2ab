"""The one retry loop of a call path, through tenacity.

tenacity's bare `@retry` never ends and never waits, and `retry_if_not_exception_type` retries even a
cancellation, so every use goes through this one factory: two attempts, only where the error itself says
that a fresh connection may help (never a timeout, an open circuit or a full bulkhead), a random wait over
the whole range (so that callers who failed together do not return together), and only while both the
budget and the caller's deadline allow it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import tenacity

from rag_service.errors import DependencyError
from rag_service.resilience.budget import RetryBudget
from rag_service.resilience.deadline import Deadline


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """One retry after 20 to 50 ms, within 10 % of all calls."""

    attempts: int = 2
    min_wait_s: float = 0.02
    max_wait_s: float = 0.05


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
        if not (isinstance(error, DependencyError) and error.retryable):
            return False
        return deadline.remaining_s() > policy.max_wait_s

    def wait_s(_: tenacity.RetryCallState) -> float:
        return rng.uniform(policy.min_wait_s, policy.max_wait_s)

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
