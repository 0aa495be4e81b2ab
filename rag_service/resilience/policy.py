"""The order in which the policies stand around a call, in this one place.

    bulkhead (limiter) → retry (budget) → hedge (budget) → breaker → attempt's time limit → call

The bulkhead stands outside the breaker, so that our own saturation never trips it; the breaker stands inside
the retry, so that a retry sees it open (5 calls reached a dead dependency before it opened; with the
breaker outside, 15). A hedge takes a place and a permit of its own, being a call of its own. The attempt's
limit belongs to the call, which knows what "done" means for it: a search is done with its body, a stream with
its last token. With `resilience=off` all but that limit is gone.

    protection = Protection(breaker, Bulkhead("vector_db", 32), budget, RetryPolicy())
    guard = Guard("vector_db", protection, tracer=tracer)
    documents = await guard.run(search, current_deadline())
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from opentelemetry import trace
from opentelemetry.trace import Span, Tracer

from rag_service.errors import (
    BadStatus,
    CircuitOpen,
    DeadlineExceeded,
    DependencyTimeout,
    Pushback,
    RagError,
)
from rag_service.resilience.breaker import Breaker, Permit, State, Verdict
from rag_service.resilience.budget import RetryBudget
from rag_service.resilience.bulkhead import Bulkhead, Place
from rag_service.resilience.deadline import Deadline
from rag_service.resilience.hedge import Hedge
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
    hedge: Hedge | None = None


class Attempt:
    """One try at a dependency. Whoever keeps it past the call (a stream) settles it; twice is harmless."""

    __slots__ = ("_permit", "_place", "_reported", "_settled", "_span", "hedge", "number")

    def __init__(
        self,
        number: int,
        permit: Permit | None,
        span: Span | None,
        place: Place | None,
        *,
        hedge: bool = False,
    ) -> None:
        self.number = number
        self.hedge = hedge
        self._permit = permit
        self._span = span
        self._place = place
        self._settled = False
        self._reported = False

    @property
    def limit(self) -> int | None:
        """How many calls may be in flight now; None without protection."""
        return self._place.limit if self._place else None

    def first_result(self) -> None:
        if self._permit:
            self._permit.first_result()
            self._report(dropped=False)

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
            self._report(dropped=False)
        elif _is_callers_doing(error):
            self._permit.cancel()
            if self._permit.verdict is not Verdict.IGNORED:
                self._report(dropped=True)
        elif isinstance(error, BadStatus) and not error.blames_dependency:
            self._permit.release()
            if isinstance(error, Pushback):
                self._report(dropped=True)
        else:
            self._permit.fail()
            if isinstance(error, DependencyTimeout):
                self._report(dropped=True)
        if self._span:
            self._span.set_attribute(names.BREAKER_OUTCOME, self._permit.verdict or Verdict.IGNORED)
            if error is not None:
                reason = error.reason if isinstance(error, RagError) else "cancelled"
                self._span.set_attribute(names.ERROR_TYPE, reason)
            self._span.end()

    def _report(self, *, dropped: bool) -> None:
        """Tell the limiter once, by the first result; errors other than timeouts say nothing about load."""
        if self._reported or self._permit is None or self._place is None:
            return
        self._reported = True
        self._place.report(self._permit.took_s, dropped=dropped)


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
        self, call: Callable[[Attempt], Coroutine[Any, Any, T]], deadline: Deadline, *, hold: bool = False
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
                    if guarded.hedge is None or hold:
                        result = await self._attempt(call, guarded, number, place, hold=hold)
                    else:
                        result = await self._hedged(call, guarded, guarded.hedge, number, place)
                    held = hold
                    return result
            raise AssertionError("a retry loop ends in a result or an error")
        finally:
            if not held:
                place.leave()

    async def _hedged(
        self,
        call: Callable[[Attempt], Coroutine[Any, Any, T]],
        guarded: Protection,
        hedge: Hedge,
        number: int,
        place: Place,
    ) -> T:
        async def first() -> T:
            return await self._attempt(call, guarded, number, place)

        async def second() -> T:
            own = guarded.bulkhead.enter()
            try:
                return await self._attempt(call, guarded, number, own, hedge=True)
            finally:
                own.leave()

        def allowed() -> bool:
            return guarded.breaker.state is State.CLOSED and not guarded.bulkhead.more_than_half_full

        return await hedge.run(first, second, allowed=allowed)

    async def _attempt(
        self,
        call: Callable[[Attempt], Coroutine[Any, Any, T]],
        guarded: Protection,
        number: int,
        place: Place,
        *,
        hold: bool = False,
        hedge: bool = False,
    ) -> T:
        breaker = guarded.breaker
        span = self._tracer.start_span(f"breaker {self.name}", attributes={names.POLICY_NAME: self.name})
        try:
            permit = breaker.acquire()
        except CircuitOpen:
            span.set_attributes({names.BREAKER_STATE: breaker.state, names.BREAKER_OUTCOME: Verdict.REJECTED})
            span.end()
            raise
        span.set_attribute(names.BREAKER_STATE, breaker.state)
        attempt = Attempt(number, permit, span, place, hedge=hedge)
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                result = await call(attempt)
        except BaseException as error:
            attempt.fail(error)
            raise
        if not hold:
            attempt.succeed()
        return result
