"""The order in which the policies stand around a call, in this one place.

    bulkhead → retry (budget) → breaker → attempt's time limit → call

The bulkhead stands outside the breaker, so that our own saturation never trips it; the breaker stands inside
the retry, so that a retry sees it open (5 calls reached a dead dependency before it opened; with the
breaker outside, 15). The attempt's limit belongs to the call, which knows what "done" means for it: a
search is done with its body, a stream with its last token. With `resilience=off` all but that limit is gone.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from opentelemetry import trace
from opentelemetry.trace import Span, Tracer

from rag_service.errors import BadStatus, CircuitOpen, DeadlineExceeded, DependencyTimeout, RagError
from rag_service.resilience.breaker import Breaker, Permit, Verdict
from rag_service.resilience.budget import RetryBudget
from rag_service.resilience.bulkhead import Bulkhead, Place
from rag_service.resilience.deadline import Deadline
from rag_service.resilience.retrying import RetryPolicy, retrying
from rag_service.telemetry import names

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Protection:
    """What stands in front of one dependency while resilience is on."""

    breaker: Breaker
    bulkhead: Bulkhead
    budget: RetryBudget
    retry: RetryPolicy


class Attempt:
    """One try at a dependency. Whoever keeps it past the call (a stream) settles it; twice is harmless."""

    __slots__ = ("_permit", "_place", "_settled", "_span", "number")

    def __init__(self, number: int, permit: Permit | None, span: Span | None, place: Place | None) -> None:
        self.number = number
        self._permit = permit
        self._span = span
        self._place = place
        self._settled = False

    def first_result(self) -> None:
        if self._permit:
            self._permit.first_result()

    def succeed(self) -> None:
        self._settle(None)

    def fail(self, error: BaseException) -> None:
        self._settle(error)

    def free_place(self) -> None:
        if self._place:
            self._place.leave()

    def _settle(self, error: BaseException | None) -> None:
        if self._settled:
            return
        self._settled = True
        if self._permit is None:
            return
        if error is None:
            self._permit.succeed()
        elif _is_callers_doing(error):
            self._permit.cancel()
        elif isinstance(error, BadStatus) and not error.blames_dependency:
            self._permit.release()
        else:
            self._permit.fail()
        if self._span:
            self._span.set_attribute(names.BREAKER_OUTCOME, self._permit.verdict or Verdict.IGNORED)
            if error is not None:
                reason = error.reason if isinstance(error, RagError) else "cancelled"
                self._span.set_attribute(names.ERROR_TYPE, reason)
            self._span.end()


def _is_callers_doing(error: BaseException) -> bool:
    """A hang-up or the caller's own deadline: neutral for the breaker when young, slow when old."""
    if isinstance(error, (asyncio.CancelledError, GeneratorExit, DeadlineExceeded)):
        return True
    return isinstance(error, DependencyTimeout) and error.by_deadline


class Guard:
    """Calls one dependency under its protection, or bare when there is none."""

    def __init__(
        self, name: str, protection: Protection | None, *, tracer: Tracer, rng: random.Random | None = None
    ) -> None:
        self.name = name
        self.protection = protection
        self._tracer = tracer
        self._rng = rng or random.Random()

    async def run(
        self, call: Callable[[Attempt], Awaitable[T]], deadline: Deadline, *, hold: bool = False
    ) -> T:
        """`call` once, or twice if that is safe and affordable.

        With `hold`, a successful call keeps its attempt (permit and place) until it settles it itself.
        """
        guarded = self.protection
        if guarded is None:
            return await call(Attempt(1, None, None, None))
        place = guarded.bulkhead.enter()
        held = False
        try:
            loop = retrying(guarded.retry, deadline=deadline, budget=guarded.budget, rng=self._rng)
            async for trial in loop:
                with trial:
                    number = trial.retry_state.attempt_number
                    result = await self._attempt(call, guarded.breaker, number, place, hold=hold)
                    held = hold
                    return result
            raise AssertionError("a retry loop ends in a result or an error")
        finally:
            if not held:
                place.leave()

    async def _attempt(
        self,
        call: Callable[[Attempt], Awaitable[T]],
        breaker: Breaker,
        number: int,
        place: Place,
        *,
        hold: bool,
    ) -> T:
        span = self._tracer.start_span(f"breaker {self.name}", attributes={names.POLICY_NAME: self.name})
        try:
            permit = breaker.acquire()
        except CircuitOpen:
            span.set_attributes({names.BREAKER_STATE: breaker.state, names.BREAKER_OUTCOME: Verdict.REJECTED})
            span.end()
            raise
        span.set_attribute(names.BREAKER_STATE, breaker.state)
        attempt = Attempt(number, permit, span, place)
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                result = await call(attempt)
        except BaseException as error:
            attempt.fail(error)
            raise
        if not hold:
            attempt.succeed()
        return result
