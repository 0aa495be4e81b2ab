"""Hedging: who wins, who pays, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_service.errors import BulkheadFull, DependencyUnreachable
from rag_service.resilience.budget import RetryBudget
from rag_service.resilience.hedge import FixedDelay, Hedge, RecentQuantile


class Race:
    """A first and a second call with set durations and outcomes, and a record of what became of them."""

    def __init__(self, first, second, *, ratio=1.0, minimum=1000):
        self.durations = {"first": first, "second": second}
        self.errors = {}
        self.started = []
        self.cancelled = []
        self.allowed = True
        self._ratio = ratio
        self._minimum = minimum

    def hedge(self, clock, delay=None):
        budget = RetryBudget(ratio=self._ratio, minimum=self._minimum, window_s=10.0, clock=clock)
        return Hedge(delay or FixedDelay(0.1), budget, clock=clock)

    async def _call(self, name):
        self.started.append(name)
        try:
            await asyncio.sleep(self.durations[name])
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        if name in self.errors:
            raise self.errors[name]
        return name

    async def run(self, hedge):
        return await hedge.run(
            lambda: self._call("first"), lambda: self._call("second"), allowed=lambda: self.allowed
        )


async def alone():
    """Only this task is left on the loop."""
    return asyncio.all_tasks() == {asyncio.current_task()}


def test_a_quick_call_is_not_hedged(run, clock):
    """Within the delay there is one call, as without hedging."""
    race = Race(0.05, 0.0)
    assert run(race.run(race.hedge(clock))) == "first"
    assert race.started == ["first"]


def test_a_late_call_is_raced_and_the_first_result_counts(run, clock):
    """The second attempt starts after the delay; its result is the answer, and the loser is cancelled."""
    race = Race(10.0, 0.02)
    started = clock.now
    assert run(race.run(race.hedge(clock))) == "second"
    assert clock.now - started == pytest.approx(0.12)
    assert race.cancelled == ["first"]


def test_a_late_call_may_still_win(run, clock):
    """Then the hedge is the loser."""
    race = Race(0.15, 1.0)
    assert run(race.run(race.hedge(clock))) == "first"
    assert race.cancelled == ["second"]


@pytest.mark.parametrize("first", [0.11, 0.2])
def test_one_failure_of_two_is_no_failure(run, clock, first):
    """Whichever of them fails, and in whatever order, the other's result is the answer."""
    race = Race(first, 0.05)
    race.errors["first"] = DependencyUnreachable("db", "refused")
    assert run(race.run(race.hedge(clock))) == "second"
    race = Race(first + 0.1, 0.0)
    race.errors["second"] = BulkheadFull("db", 4)
    assert run(race.run(race.hedge(clock))) == "first"


def test_when_both_fail_the_first_error_is_raised(run, clock):
    """The call that was asked for speaks; the hedge was our idea."""
    race = Race(0.2, 0.01)
    race.errors = {"first": DependencyUnreachable("db", "first"), "second": BulkheadFull("db", 4)}
    with pytest.raises(DependencyUnreachable, match="first"):
        run(race.run(race.hedge(clock)))


def test_a_failure_before_the_delay_is_not_hedged(run, clock):
    """What fails at once is for the retry loop, not for a second copy."""
    race = Race(0.01, 0.0)
    race.errors["first"] = DependencyUnreachable("db", "refused")
    with pytest.raises(DependencyUnreachable):
        run(race.run(race.hedge(clock)))
    assert race.started == ["first"]


def test_no_hedge_where_it_is_not_allowed(run, clock):
    """The guard says no while the breaker is not closed or the bulkhead more than half full."""
    race = Race(0.3, 0.0)
    race.allowed = False
    assert run(race.run(race.hedge(clock))) == "first"
    assert race.started == ["first"]


def test_the_budget_stops_hedges_when_everything_is_slow(run, clock):
    """Of 1,000 calls that are all late, one in twenty gets a second copy."""
    race = Race(0.2, 0.2, ratio=0.05, minimum=1)
    hedge = race.hedge(clock)

    async def storm():
        for _ in range(100):
            await asyncio.gather(*(race.run(hedge) for _ in range(10)))

    run(storm())
    assert race.started.count("first") == 1000
    assert 0 < race.started.count("second") <= 50 + 1


@pytest.mark.parametrize(
    ("delay_s", "p99_ms"),
    [pytest.param(9.0, 250, id="plain-250ms"), pytest.param(0.05, 60, id="hedged-60ms")],
)
def test_p99_of_1000_searches_of_which_3_percent_are_late(run, clock, delay_s, p99_ms):
    """10 ms, but 250 ms with bad luck: a second try after 50 ms has better luck, for 3 % more searches."""
    rng = random.Random(1)
    budget = RetryBudget(ratio=0.05, minimum=1, window_s=10.0, clock=clock)
    hedge = Hedge(FixedDelay(delay_s), budget, clock=clock)
    made = 0

    async def search():
        nonlocal made
        made += 1
        await asyncio.sleep(0.25 if rng.random() < 0.03 else 0.01)

    async def all_of_them():
        latencies = []
        for _ in range(1000):
            began = clock.now
            await hedge.run(search, search, allowed=lambda: True)
            latencies.append(clock.now - began)
        return sorted(latencies)

    assert run(all_of_them())[990] * 1000.0 == pytest.approx(p99_ms)
    assert made <= 1050


def test_a_loser_that_fails_as_it_is_cancelled_is_not_reported(run, clock):
    """Its error is nobody's: the answer is there, and asyncio must not complain of an unseen exception."""
    reported = []

    async def first():
        try:
            await asyncio.sleep(10.0)
        except asyncio.CancelledError:
            raise ValueError("while cleaning up") from None

    async def second():
        return "second"

    async def race():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        return await Race(0, 0).hedge(clock).run(first, second, allowed=lambda: True)

    assert run(race()) == "second"
    gc.collect()
    assert reported == []


@pytest.mark.parametrize("when", [0.05, 0.15])
def test_a_cancelled_caller_leaves_no_task(run, clock, when):
    """Before or after the hedge started, cancelling the caller cancels all that was started for it."""
    race = Race(10.0, 10.0)

    async def impatient():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(when):
                await race.run(race.hedge(clock))
        return await alone()

    assert run(impatient())
    assert sorted(race.cancelled) == sorted(race.started)


@given(
    first=st.sampled_from([0.0, 0.05, 0.1, 0.15, 0.3]),
    second=st.sampled_from([0.0, 0.05, 0.1, 0.3]),
    broken=st.sets(st.sampled_from(["first", "second"])),
    patience=st.sampled_from([0.02, 0.1, 0.12, 0.2, 5.0]),
    allowed=st.booleans(),
)
# Functions share the fixture's clock, which only goes on; that is fine.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_no_ending_leaves_a_task_or_a_secret_error(run, clock, first, second, broken, patience, allowed):
    """For any timing, outcome and patience, all started calls have ended and asyncio has no complaint."""
    race = Race(first, second)
    race.errors = {name: DependencyUnreachable("db", name) for name in broken}
    race.allowed = allowed
    reported = []

    async def once():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        try:
            async with asyncio.timeout(patience):
                result = await race.run(race.hedge(clock))
        except (TimeoutError, DependencyUnreachable):
            result = None
        assert result is None or result not in broken
        return await alone()

    assert run(once())
    assert reported == []


def test_the_p95_of_recent_results_sets_the_delay():
    """Of 100 results from 1 to 100 ms, the 96th; bounded below and above."""
    delay = RecentQuantile(floor_s=0.01, cap_s=0.3)
    for number in range(100):
        delay.observe((number + 1) / 1000.0)
    assert delay.delay_s == pytest.approx(0.096)
    assert RecentQuantile(floor_s=0.2, cap_s=0.3).delay_s == 0.3  # nothing known yet
    for _ in range(300):
        delay.observe(0.001)
    assert delay.delay_s == 0.01
    for _ in range(300):
        delay.observe(5.0)
    assert delay.delay_s == 0.3


@given(st.lists(st.floats(0.0, 10.0), max_size=450))
def test_the_quantile_is_that_of_the_last_200(latencies):
    """Kept in order as results come and go, it equals sorting the last 200 anew."""
    delay = RecentQuantile(floor_s=0.0, cap_s=100.0)
    for latency_s in latencies:
        delay.observe(latency_s)
    recent = sorted(latencies[-200:])
    expected = recent[min(len(recent) - 1, int(0.95 * len(recent)))] if len(recent) >= 20 else 100.0
    assert delay.delay_s == expected
