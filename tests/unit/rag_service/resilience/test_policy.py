"""The order of the policies around a call, seen from what the call and the spans experience."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rag_service.errors import (
    BadStatus,
    BulkheadFull,
    CircuitOpen,
    DependencyTimeout,
    DependencyUnreachable,
    Pushback,
)
from rag_service.resilience.breaker import Breaker, BreakerPolicy, State
from rag_service.resilience.budget import RetryBudget
from rag_service.resilience.bulkhead import Bulkhead
from rag_service.resilience.deadline import Deadline
from rag_service.resilience.hedge import FixedDelay, Hedge
from rag_service.resilience.limiter import Aimd, Bounds
from rag_service.resilience.policy import Guard, Protection
from rag_service.resilience.retrying import RetryPolicy


class Bench:
    """A guard with everything in reach of the test."""

    def __init__(self, clock, *, places=4, protected=True, hedge_after_s=None, hedge_minimum=1000):
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.breaker = Breaker("db", BreakerPolicy(open_jitter_ratio=0.0), clock=clock, rng=random.Random(1))
        self.bulkhead = Bulkhead("db", places)
        budget = RetryBudget(ratio=1.0, minimum=1000, window_s=10.0, clock=clock)
        hedge = None
        if hedge_after_s is not None:
            hedges = RetryBudget(ratio=0.05, minimum=hedge_minimum, window_s=10.0, clock=clock)
            hedge = Hedge(FixedDelay(hedge_after_s), hedges, clock=clock)
        protection = Protection(
            self.breaker, self.bulkhead, budget, RetryPolicy(min_wait_s=0.0, max_wait_s=0.0), hedge
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
        (Pushback("db", 429), "ignored"),
        (Pushback("db", 503, retry_after_s=9.0), "ignored"),
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


def test_pushback_never_opens_the_breaker(run, clock):
    """A peer that works and says "less" is not cut off, however often it says so."""
    bench = Bench(clock)

    async def storm():
        for _ in range(50):
            with pytest.raises(Pushback):
                await bench.call(raising(Pushback("llm", 429)))

    run(storm())
    assert bench.breaker.state is State.CLOSED


def limited(clock, start=10):
    return Bench(clock, places=Aimd(Bounds(start=start), clock=clock))


@pytest.mark.parametrize(
    ("error", "limit"),
    [
        (Pushback("llm", 429), 9),
        (Pushback("llm", 503), 9),
        (DependencyTimeout("llm", 2.0), 9),
        (DependencyTimeout("llm", 0.01, by_deadline=True), 10),
        (BadStatus("llm", 500), 10),
        (BadStatus("llm", 400), 10),
        (DependencyUnreachable("llm", "refused"), 10),
    ],
)
def test_what_cuts_the_limit(run, clock, error, limit):
    """Pushback and our own time limit do; a crash, a bad request, a caller in a hurry say nothing of load."""
    bench = limited(clock)
    with pytest.raises(type(error)):
        run(bench.call(raising(error)))
    assert bench.bulkhead.limit == limit


def test_the_bulkhead_has_as_many_places_as_the_limiter_allows(run, clock):
    """After a cut, fewer calls get in; those inside stay inside."""
    bench = limited(clock, start=2)

    async def crowd():
        held = []

        async def keep(attempt):
            held.append(attempt)

        await bench.call(keep, hold=True)
        await bench.call(keep, hold=True)
        with pytest.raises(BulkheadFull):
            await bench.call(fine)
        for attempt in held:
            attempt.succeed()
            attempt.free_place()
        return await bench.call(fine)

    assert run(crowd()) == "ok"


def test_the_limiter_hears_of_the_first_token_and_not_of_the_length(run, clock):
    """A stream of minutes with a quick first token is a quick call; it is reported once, at that token."""
    bench = limited(clock)
    heard = []
    observe = bench.bulkhead.limiter.observe
    bench.bulkhead.limiter.observe = lambda sample: (heard.append(sample), observe(sample))

    async def stream():
        async def start(attempt):
            await asyncio.sleep(0.2)
            attempt.first_result()
            return attempt

        attempt = await bench.call(start, hold=True)
        assert len(heard) == 1
        await asyncio.sleep(120.0)
        attempt.succeed()
        attempt.free_place()

    run(stream())
    (sample,) = heard
    assert (sample.latency_s, sample.in_flight, sample.dropped) == (pytest.approx(0.2), 1, False)


def test_callers_who_leave_a_hanging_model_cut_its_limit(run, clock):
    """An old cancellation is a call that was not answered; a young one is nothing."""
    bench = limited(clock)

    async def leave_after(seconds):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await bench.call(lambda _: asyncio.sleep(100))

    run(leave_after(0.01))
    assert bench.bulkhead.limit == 10
    run(leave_after(5.0))
    assert bench.bulkhead.limit == 9


def late_then_prompt():
    """A dependency whose first answer is late and whose others are not."""
    calls = []

    async def work(attempt):
        calls.append(attempt.hedge)
        await asyncio.sleep(0.25 if not attempt.hedge else 0.01)
        return "hedge" if attempt.hedge else "first"

    return work, calls


def test_a_hedge_is_an_attempt_of_its_own(run, clock):
    """It has a breaker span and a place of its own, and both are settled when the call returns."""
    bench = Bench(clock, hedge_after_s=0.05)
    work, calls = late_then_prompt()
    assert run(bench.call(work)) == "hedge"
    assert calls == [False, True]
    assert sorted(span["resilience.circuit_breaker.outcome"] for span in bench.spans()) == [
        "ignored",
        "success",
    ]
    assert bench.bulkhead.taken == 0


def test_losers_of_hedges_do_not_open_the_breaker(run, clock):
    """Counting them as failures makes an ill dependency out of a healthy one; here all 100 firsts lose."""
    bench = Bench(clock, hedge_after_s=0.05)
    work, calls = late_then_prompt()

    async def many():
        for _ in range(100):
            assert await bench.call(work) == "hedge"

    run(many())
    assert calls.count(True) == 100
    assert bench.breaker.state is State.CLOSED


def test_losers_that_hung_count_as_slow(run, clock):
    """A hedge must not hide that every first call hangs: old losers are slow calls, which open it."""
    bench = Bench(clock, hedge_after_s=0.5)
    opened = False

    async def work(attempt):
        await asyncio.sleep(0.4 if attempt.hedge else 100.0)

    async def many():
        nonlocal opened
        for _ in range(10):
            try:
                await bench.call(work)
            except CircuitOpen:
                opened = True

    run(many())
    assert opened


def test_no_hedge_while_half_open(run, clock):
    """Probes are counted; a hedge would be a probe that nobody asked for."""
    bench = Bench(clock, hedge_after_s=0.05)
    bench.breaker.core.half_open()
    work, calls = late_then_prompt()
    assert run(bench.call(work)) == "first"
    assert calls == [False]


@pytest.mark.parametrize(("others", "hedged"), [(1, True), (2, False)])
def test_no_hedge_while_the_bulkhead_is_more_than_half_full(run, clock, others, hedged):
    """Of four places two may be taken; with three, the spare one is for someone's first call."""
    bench = Bench(clock, places=4, hedge_after_s=0.05)
    taken = [bench.bulkhead.enter() for _ in range(others)]
    work, calls = late_then_prompt()
    run(bench.call(work))
    assert (True in calls) is hedged
    assert bench.bulkhead.taken == len(taken)


def test_a_stream_is_never_hedged(run, clock):
    """Two generations cost the model twice, and only one of them could be shown."""
    bench = Bench(clock, hedge_after_s=0.05)
    work, calls = late_then_prompt()

    async def held():
        assert await bench.call(work, hold=True) == "first"

    run(held())
    assert calls == [False]


def test_a_hedged_call_that_is_cancelled_gives_everything_back(run, clock):
    """Both places, both permits, no task."""
    bench = Bench(clock, hedge_after_s=0.05)

    async def impatient():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await bench.call(lambda _: asyncio.sleep(100))
        return asyncio.all_tasks() == {asyncio.current_task()}

    assert run(impatient())
    assert bench.bulkhead.taken == 0
    assert [span["resilience.circuit_breaker.outcome"] for span in bench.spans()] == ["ignored", "ignored"]


OUTCOMES = [
    None,
    DependencyUnreachable("db", "refused"),
    DependencyTimeout("db", 0.3),
    BadStatus("db", 500),
    Pushback("db", 429),
    ValueError("a bug"),
]


@given(
    callers=st.lists(
        st.tuples(
            st.floats(0.0, 2.0),  # when the caller comes
            st.sampled_from([0.001, 0.04, 0.2, 0.5, 5.0]),  # how long the dependency takes
            st.sampled_from(OUTCOMES),
            st.sampled_from([0.01, 0.06, 0.4, 10.0]),  # how long the caller stays
            st.booleans(),  # whether it keeps its attempt, as a stream does
        ),
        max_size=40,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_callers_do_nothing_leaks(run, clock, callers):
    """After any storm of calls, hedges, retries and hang-ups, places are free, probes back, tasks gone."""
    bench = Bench(clock, places=8, hedge_after_s=0.05)
    inside = 0

    async def caller(when_s, takes_s, outcome, patience_s, hold):
        nonlocal inside
        await asyncio.sleep(when_s)

        async def work(attempt):
            nonlocal inside
            inside += 1
            assert inside <= 8
            try:
                await asyncio.sleep(takes_s)
            finally:
                inside -= 1
            if outcome is not None:
                raise outcome
            return attempt

        try:
            async with asyncio.timeout(patience_s):
                kept = await bench.call(work, hold=hold)
        except Exception:
            return
        if hold:
            kept.first_result()
            kept.succeed()
            kept.free_place()

    async def storm():
        await asyncio.gather(*(caller(*each) for each in callers))
        return asyncio.all_tasks() == {asyncio.current_task()}

    assert run(storm())
    assert (inside, bench.bulkhead.taken, bench.breaker.probes_in_flight) == (0, 0, 0)
    assert all("resilience.circuit_breaker.outcome" in span for span in bench.spans())
