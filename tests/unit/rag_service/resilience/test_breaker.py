"""The breaker guard: Resilience4j's rules, and each pybreaker trap that it removes beside plain pybreaker."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pybreaker
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rag_service.errors import CircuitOpen
from rag_service.resilience.breaker import Breaker, BreakerPolicy, Permit, State, StateChange, Verdict

POLICY = BreakerPolicy(open_jitter_ratio=0.0)


class ManualClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make(clock, policy=POLICY, **more):
    return Breaker("db", policy, clock=clock, rng=random.Random(1), **more)


def fail(breaker, times=1):
    for _ in range(times):
        breaker.acquire().fail()


def trip(breaker):
    fail(breaker, POLICY.min_calls)
    assert breaker.state is State.OPEN


def half_open(breaker, clock):
    trip(breaker)
    clock.now += POLICY.max_open_s
    permit = breaker.acquire()
    assert breaker.state is State.HALF_OPEN
    permit.release()


def test_opens_at_the_failure_ratio_once_there_are_enough_calls(clock):
    """Nine failures are too few to judge by; the tenth opens it."""
    breaker = make(clock)
    fail(breaker, POLICY.min_calls - 1)
    assert breaker.state is State.CLOSED
    fail(breaker)
    assert breaker.state is State.OPEN


def test_a_healthy_minority_of_failures_leaves_it_closed(clock):
    """Negative control: 40 % failures are below the ratio of 50 %."""
    breaker = make(clock)
    for number in range(200):
        permit = breaker.acquire()
        permit.fail() if number % 5 in (2, 4) else permit.succeed()
    assert breaker.state is State.CLOSED


def test_an_open_breaker_refuses_and_says_when_to_come_back(clock):
    """CircuitOpen carries the time left until the next probe."""
    breaker = make(clock)
    trip(breaker)
    clock.now += 2.0
    with pytest.raises(CircuitOpen) as refused:
        breaker.acquire()
    assert refused.value.retry_after_s == pytest.approx(3.0)


def test_old_failures_leave_the_window(clock):
    """Nine failures long ago and one now do not open it."""
    breaker = make(clock)
    fail(breaker, POLICY.min_calls - 1)
    clock.now += POLICY.window_s + 0.1
    fail(breaker)
    assert breaker.state is State.CLOSED


def test_slow_successes_open_it(clock):
    """A dependency that answers late is as bad as one that fails."""
    breaker = make(clock)
    for _ in range(POLICY.min_calls):
        permit = breaker.acquire()
        clock.now += POLICY.slow_call_s + 0.001
        permit.succeed()
    assert breaker.state is State.OPEN


def test_a_stream_is_slow_by_its_first_token_not_by_its_length(clock):
    """After `first_result` time no longer counts."""
    breaker = make(clock)
    for _ in range(POLICY.min_calls):
        permit = breaker.acquire()
        permit.first_result()
        clock.now += 0.9
        permit.succeed()
    assert breaker.state is State.CLOSED


def test_closes_after_enough_good_probes(clock):
    """Three good probes, and normal life goes on."""
    breaker = make(clock)
    half_open(breaker, clock)
    for _ in range(POLICY.probes):
        breaker.acquire().succeed()
    assert breaker.state is State.CLOSED


@pytest.mark.parametrize("slow", [False, True])
def test_one_bad_probe_opens_it_again(clock, slow):
    """A probe that fails, or is slow, reopens at once."""
    breaker = make(clock)
    half_open(breaker, clock)
    permit = breaker.acquire()
    if slow:
        clock.now += POLICY.slow_call_s + 0.001
        permit.succeed()
    else:
        permit.fail()
    assert breaker.state is State.OPEN


def test_open_time_doubles_up_to_its_limit_and_starts_anew_after_closing(clock):
    """5 s, 10 s, 10 s; after a recovery 5 s again."""
    breaker = make(clock)
    trip(breaker)
    lengths = []
    for _ in range(3):
        with pytest.raises(CircuitOpen) as refused:
            breaker.acquire()
        lengths.append(refused.value.retry_after_s)
        clock.now += refused.value.retry_after_s
        fail(breaker)
    assert lengths == pytest.approx([5.0, 10.0, 10.0])
    clock.now += 10.0
    for _ in range(POLICY.probes):
        breaker.acquire().succeed()
    trip(breaker)
    with pytest.raises(CircuitOpen) as refused:
        breaker.acquire()
    assert refused.value.retry_after_s == pytest.approx(5.0)


def test_open_time_is_jittered_within_its_bounds(clock):
    """±20 % around 5 s, so that replicas do not probe together."""
    lengths = set()
    for seed in range(50):
        breaker = Breaker("db", BreakerPolicy(), clock=clock, rng=random.Random(seed))
        trip(breaker)
        with pytest.raises(CircuitOpen) as refused:
            breaker.acquire()
        lengths.add(refused.value.retry_after_s)
    assert 4.0 <= min(lengths) < 4.5 < 5.5 < max(lengths) <= 6.0


def test_each_transition_is_reported_with_its_cause(clock):
    """The log of a whole outage: closed → open → half_open → closed, numbered from 1."""
    seen: list[StateChange] = []
    breaker = make(clock, on_change=seen.append)
    half_open(breaker, clock)
    for _ in range(POLICY.probes):
        breaker.acquire().succeed()
    assert [(c.previous, c.new, c.seq) for c in seen] == [
        (State.CLOSED, State.OPEN, 1),
        (State.OPEN, State.HALF_OPEN, 2),
        (State.HALF_OPEN, State.CLOSED, 3),
    ]
    assert [c.cause for c in seen] == ["failure_ratio 10/10", "open_time_elapsed", "probes_succeeded"]


def test_a_transition_by_hand_is_noticed(clock):
    """Opening pybreaker's own object is a transition like any other."""
    seen: list[StateChange] = []
    breaker = make(clock, on_change=seen.append)
    breaker.core.open()
    assert [c.cause for c in seen] == ["manual"]
    with pytest.raises(CircuitOpen):
        breaker.acquire()


# --- the traps of pybreaker 1.4.1, each shown on pybreaker itself and removed here


def test_trap_half_open_lets_everybody_through(clock):
    """Of 50 callers in half-open, 3 get a permit and 47 are refused at once; none waits to stampede later."""
    breaker = make(clock)
    half_open(breaker, clock)
    permits, refused = [], 0
    for _ in range(50):
        try:
            permits.append(breaker.acquire())
        except CircuitOpen:
            refused += 1
    assert (len(permits), refused) == (3, 47)


def test_trap_plain_pybreaker_lets_all_50_through_in_half_open():
    """Why the guard admits: 50 of 50 concurrent calls enter pybreaker's half-open state."""
    plain = pybreaker.CircuitBreaker(success_threshold=3)
    plain.half_open()

    async def call():
        with plain.calling():
            await asyncio.sleep(0)
            return True

    async def storm():
        return await asyncio.gather(*(call() for _ in range(50)))

    assert sum(asyncio.run(storm())) == 50


def test_trap_a_steady_60_percent_of_failures_opens_the_guard_and_never_pybreaker(clock):
    """Consecutive counting is blind to a periodic failure rate; the window is not."""
    plain = pybreaker.CircuitBreaker(fail_max=5)
    breaker = make(clock)
    opened = False
    for number in range(2000):
        bad = number % 5 < 3
        with contextlib.suppress(ValueError), plain.calling():
            if bad:
                raise ValueError
        try:
            permit = breaker.acquire()
            permit.fail() if bad else permit.succeed()
        except CircuitOpen:
            opened = True
    assert plain.current_state == pybreaker.STATE_CLOSED
    assert opened


def test_trap_young_cancellations_are_neutral(clock):
    """30 callers who hang up at once say nothing about the dependency."""
    breaker = make(clock)
    for _ in range(30):
        permit = breaker.acquire()
        permit.cancel()
        assert permit.verdict is Verdict.IGNORED
    assert breaker.state is State.CLOSED


def test_trap_plain_pybreaker_counts_cancellations_as_failures():
    """Why the guard classifies: five cancelled calls open pybreaker."""
    plain = pybreaker.CircuitBreaker(fail_max=5, throw_new_error_on_trip=False)
    for _ in range(5):
        with contextlib.suppress(asyncio.CancelledError), plain.calling():
            raise asyncio.CancelledError
    assert plain.current_state == pybreaker.STATE_OPEN


def test_trap_old_cancellations_count_as_slow(clock):
    """A dependency that hangs past every caller's patience opens the breaker."""
    breaker = make(clock)
    for _ in range(POLICY.min_calls):
        permit = breaker.acquire()
        clock.now += POLICY.slow_call_s + 0.1
        permit.cancel()
    assert breaker.state is State.OPEN


def test_trap_a_cancelled_probe_gives_its_permit_back(clock):
    """It neither closes the breaker nor uses up a probe for good."""
    breaker = make(clock)
    half_open(breaker, clock)
    for _ in range(POLICY.probes * 2):
        breaker.acquire().cancel()
    assert breaker.state is State.HALF_OPEN
    breaker.acquire().succeed()


def test_trap_plain_pybreaker_closes_on_an_excluded_cancelled_probe():
    """Why exclusion is no way out: an excluded exception counts as success and closes pybreaker."""
    plain = pybreaker.CircuitBreaker(exclude=[asyncio.CancelledError])
    plain.half_open()
    with contextlib.suppress(asyncio.CancelledError), plain.calling():
        raise asyncio.CancelledError
    assert plain.current_state == pybreaker.STATE_CLOSED


def test_trap_late_results_neither_extend_the_open_time_nor_count(clock):
    """Failures of calls that were in flight when it opened are dropped."""
    breaker = make(clock)
    in_flight = [breaker.acquire() for _ in range(5)]
    trip(breaker)
    clock.now += 4.0
    for permit in in_flight:
        permit.fail()
    with pytest.raises(CircuitOpen) as refused:
        breaker.acquire()
    assert refused.value.retry_after_s == pytest.approx(1.0)
    assert breaker.late_results == 5


def test_trap_a_late_success_is_no_probe(clock):
    """A result from the closed state must not close a half-open breaker."""
    breaker = make(clock)
    old = [breaker.acquire() for _ in range(POLICY.probes)]
    half_open(breaker, clock)
    for permit in old:
        permit.succeed()
    assert breaker.state is State.HALF_OPEN


def test_trap_decorating_a_coroutine_counts_it_before_it_ran():
    """Why there are permits: pybreaker's decorator has counted a success when the coroutine object exists."""
    plain = pybreaker.CircuitBreaker(fail_max=2)

    @plain
    async def broken():
        raise ValueError

    for _ in range(10):
        with contextlib.suppress(ValueError):
            asyncio.run(broken())
    assert plain.current_state == pybreaker.STATE_CLOSED


def test_settling_twice_counts_once(clock):
    """The first settlement decides."""
    breaker = make(clock)
    permit = breaker.acquire()
    permit.succeed()
    for _ in range(POLICY.min_calls * 2):
        permit.fail()
    assert permit.verdict is Verdict.SUCCESS
    assert breaker.state is State.CLOSED


class BreakerMachine(RuleBasedStateMachine):
    """Any order of calls, settlements and pauses."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.breaker = make(self.clock)
        self.permits: list[tuple[Permit, int]] = []

    @rule(pause_s=st.sampled_from([0.0, 0.1, 0.4, 5.0, 11.0]))
    def wait(self, pause_s: float) -> None:
        self.clock.now += pause_s

    @rule()
    def acquire(self) -> None:
        with contextlib.suppress(CircuitOpen):
            self.permits.append((self.breaker.acquire(), self.breaker._generation))

    @precondition(lambda self: self.permits)
    @rule(how=st.sampled_from(["succeed", "fail", "cancel", "release"]), data=st.data())
    def settle(self, how: str, data: st.DataObject) -> None:
        permit, _ = self.permits.pop(data.draw(st.integers(0, len(self.permits) - 1)))
        getattr(permit, how)()

    @rule()
    def fail_many(self) -> None:
        for _ in range(POLICY.min_calls):
            with contextlib.suppress(CircuitOpen):
                self.breaker.acquire().fail()

    @invariant()
    def probes_in_flight_are_bounded(self) -> None:
        """In half-open, no more permits of this state are out than there are probes."""
        if self.breaker.state is State.HALF_OPEN:
            out = sum(generation == self.breaker._generation for _, generation in self.permits)
            assert out <= POLICY.probes

    @invariant()
    def never_stuck(self) -> None:
        """However it got here, waiting long enough leads to a permit once outstanding calls are settled."""
        assert self.breaker._reopens_at - self.clock.now <= POLICY.max_open_s + 1e-6


BreakerMachine.TestCase.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBreakerMachine = BreakerMachine.TestCase
