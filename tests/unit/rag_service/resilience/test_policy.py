"""The order of the policies around a call, seen from what the call and the spans experience."""

from __future__ import annotations

import asyncio
import random

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rag_service.errors import BadStatus, BulkheadFull, CircuitOpen, DependencyTimeout, DependencyUnreachable
from rag_service.resilience.breaker import Breaker, BreakerPolicy, State
from rag_service.resilience.budget import RetryBudget
from rag_service.resilience.bulkhead import Bulkhead
from rag_service.resilience.deadline import Deadline
from rag_service.resilience.policy import Guard, Protection
from rag_service.resilience.retrying import RetryPolicy


class Bench:
    """A guard with everything in reach of the test."""

    def __init__(self, clock, *, places=4, protected=True):
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.breaker = Breaker("db", BreakerPolicy(open_jitter_ratio=0.0), clock=clock, rng=random.Random(1))
        self.bulkhead = Bulkhead("db", places)
        budget = RetryBudget(ratio=1.0, minimum=1000, window_s=10.0, clock=clock)
        protection = Protection(
            self.breaker, self.bulkhead, budget, RetryPolicy(min_wait_s=0.0, max_wait_s=0.0)
        )
        self.guard = Guard("db", protection if protected else None, tracer=provider.get_tracer("t"))
        self.deadline = Deadline.after(1e6, clock)

    def call(self, work, **more):
        return self.guard.run(work, self.deadline, **more)

    def spans(self):
        return [dict(span.attributes) for span in self.exporter.get_finished_spans()]


def raising(error):
    async def work(_attempt):
        raise error

    return work


async def fine(_attempt):
    return "ok"


def test_the_breaker_stands_inside_the_retry(run, clock):
    """A dead dependency sees no more than the ten calls that open the breaker, retries included."""
    bench = Bench(clock)
    reached = 0

    async def dead(_attempt):
        nonlocal reached
        reached += 1
        raise DependencyUnreachable("db", "refused")

    async def storm():
        for _ in range(20):
            with pytest.raises((DependencyUnreachable, CircuitOpen)):
                await bench.call(dead)

    run(storm())
    assert reached == 10
    assert bench.breaker.state is State.OPEN


def test_a_full_bulkhead_never_trips_the_breaker(run, clock):
    """Our own saturation is refused outside the breaker: no attempt, no span, no count."""
    bench = Bench(clock, places=1)

    async def crowd():
        held = []

        async def keep(attempt):
            held.append(attempt)

        await bench.call(keep, hold=True)
        for _ in range(20):
            with pytest.raises(BulkheadFull):
                await bench.call(fine)
        held[0].succeed()
        held[0].free_place()
        return await bench.call(fine)

    assert run(crowd()) == "ok"
    assert bench.breaker.state is State.CLOSED
    assert len(bench.spans()) == 2


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (DependencyTimeout("db", 0.3), "failure"),
        (BadStatus("db", 503), "failure"),
        (BadStatus("db", 429), "ignored"),
        (BadStatus("db", 400), "ignored"),
        (DependencyTimeout("db", 0.1, by_deadline=True), "ignored"),
    ],
)
def test_what_a_failure_says_about_the_dependency(run, clock, error, outcome):
    """Timeouts and 5xx blame it; pushback, our own mistakes and the caller's short patience do not."""
    bench = Bench(clock)
    with pytest.raises(type(error)):
        run(bench.call(raising(error)))
    assert [span["resilience.circuit_breaker.outcome"] for span in bench.spans()] == [outcome]


def test_a_cancelled_call_is_neutral_and_stays_a_cancellation(run, clock):
    """asyncio.timeout around a guarded call raises TimeoutError, the place is free, the breaker unmoved."""
    bench = Bench(clock)

    async def hang(_attempt):
        await asyncio.sleep(100)

    async def impatient():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await bench.call(hang)

    run(impatient())
    assert bench.bulkhead.taken == 0
    assert bench.spans()[0]["resilience.circuit_breaker.outcome"] == "ignored"


def test_a_dependency_that_hangs_opens_the_breaker_though_callers_leave_first(run, clock):
    """Ten callers who each waited 0.5 s are ten slow calls."""
    bench = Bench(clock)

    async def hang(_attempt):
        await asyncio.sleep(100)

    async def callers():
        for _ in range(10):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await bench.call(hang)

    run(callers())
    assert bench.breaker.state is State.OPEN


def test_a_rejection_is_one_breaker_span_and_nothing_else(run, clock):
    """No call is made while the circuit is open, and the trace says why."""
    bench = Bench(clock)
    bench.breaker.core.open()
    with pytest.raises(CircuitOpen):
        run(bench.call(fine))
    (span,) = bench.spans()
    assert span["resilience.circuit_breaker.state"] == "open"
    assert span["resilience.circuit_breaker.outcome"] == "rejected"


def test_a_held_attempt_keeps_its_place_until_it_is_freed(run, clock):
    """A stream's slot is taken until the stream ends, and its outcome is the stream's."""
    bench = Bench(clock)

    async def stream():
        async def start(attempt):
            return attempt

        attempt = await bench.call(start, hold=True)
        assert bench.bulkhead.taken == 1
        assert bench.spans() == []
        attempt.fail(DependencyTimeout("db", 1.0))
        attempt.free_place()

    run(stream())
    assert bench.bulkhead.taken == 0
    assert bench.spans()[0]["resilience.circuit_breaker.outcome"] == "failure"


def test_without_protection_there_is_one_bare_attempt(run, clock):
    """Resilience off: no retry, no breaker span, however often it fails."""
    bench = Bench(clock, protected=False)

    async def storm():
        for _ in range(30):
            with pytest.raises(DependencyUnreachable):
                await bench.call(raising(DependencyUnreachable("db", "refused")))
        return await bench.call(fine)

    assert run(storm()) == "ok"
    assert bench.spans() == []
