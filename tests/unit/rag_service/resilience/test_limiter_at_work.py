"""A limiter at work in the bulkhead of a guard, between impatient callers and a server with few slots."""

from __future__ import annotations

import asyncio
import random

import pytest
from opentelemetry import trace

from rag_service.errors import BulkheadFull, Pushback
from rag_service.resilience import (
    Bounds,
    Breaker,
    BreakerPolicy,
    Bulkhead,
    Deadline,
    Guard,
    Protection,
    RetryBudget,
    RetryPolicy,
    State,
    make_limiter,
)
from rag_service.resilience.limiter import Kind

SLOTS = 8
SERVICE_S = 0.5
CALLERS = 30


class Server:
    """Takes eight calls at a time and turns every other away with a 429."""

    def __init__(self):
        self.busy = 0
        self.asked = 0
        self.turned_away = 0

    async def call(self, _attempt):
        self.asked += 1
        if self.busy >= SLOTS:
            self.turned_away += 1
            raise Pushback("llm", 429)
        self.busy += 1
        try:
            await asyncio.sleep(SERVICE_S)
        finally:
            self.busy -= 1


def guard(kind, clock):
    budget = RetryBudget(ratio=0.1, minimum=3, window_s=10.0, clock=clock)
    breaker = Breaker("llm", BreakerPolicy(slow_call_s=1.5), clock=clock, rng=random.Random(1))
    bulkhead = Bulkhead("llm", make_limiter(kind, Bounds(20, 2, 64), clock=clock))
    return Guard("llm", Protection(breaker, bulkhead, budget, RetryPolicy()), tracer=trace.NoOpTracer())


async def pressure(server, guarded, clock, seconds):
    """Callers who come back 0.3 s after each refusal; the share of the slots that did good work."""
    end = clock.now + seconds
    good = 0

    async def caller(number):
        nonlocal good
        rng = random.Random(number)
        while clock.now < end:
            try:
                await guarded.run(server.call, Deadline.never(clock))
                good += 1
            except (Pushback, BulkheadFull):
                await asyncio.sleep(rng.uniform(0.2, 0.4))

    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    return good * SERVICE_S / (SLOTS * seconds)


@pytest.mark.parametrize(
    ("kind", "turned_away_percent"),
    [
        pytest.param(Kind.FIXED, 82, id="fixed-82-percent"),
        pytest.param(Kind.AIMD, 4, id="aimd-4-percent"),
        pytest.param(Kind.GRADIENT2, 3, id="gradient2-3-percent"),
    ],
)
def test_calls_that_the_server_turns_away(run, clock, kind, turned_away_percent):
    """A limit that learns keeps the excess at home, where refusing costs nothing, and the slots full."""
    server, guarded = Server(), guard(kind, clock)

    async def under_pressure():
        await pressure(server, guarded, clock, 20.0)
        server.asked = server.turned_away = 0
        return await pressure(server, guarded, clock, 20.0)

    assert run(under_pressure()) >= 0.95
    assert 100.0 * server.turned_away / server.asked == pytest.approx(turned_away_percent, abs=1.0)
    assert guarded.protection.breaker.state is State.CLOSED
