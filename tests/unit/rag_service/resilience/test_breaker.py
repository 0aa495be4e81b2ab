"""The breaker guard: Resilience4j's rules, cancellation, late results, leases."""

from __future__ import annotations

import gc
import random

import pytest

from rag_service.errors import CircuitOpen
from rag_service.resilience.breaker import Breaker, BreakerPolicy, Permit, State, StateChange, Verdict

POLICY = BreakerPolicy(open_jitter_ratio=0.0)


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


@pytest.mark.parametrize(("bad", "opens"), [(7, False), (8, True)])
def test_exactly_the_slow_ratio_is_enough(clock, bad, opens):
    """80 % of ten calls are eight: thresholds are reached, not exceeded."""
    breaker = make(clock)
    permits = [breaker.acquire() for _ in range(POLICY.min_calls)]
    for permit in permits[bad:]:
        permit.succeed()
    clock.now += POLICY.slow_call_s + 0.001
    for permit in permits[:bad]:
        permit.succeed()
    assert (breaker.state is State.OPEN) is opens


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


def test_of_50_callers_in_half_open_3_get_a_permit(clock):
    """47 are refused at once; none waits to stampede later."""
    breaker = make(clock)
    half_open(breaker, clock)
    permits, refused = [], 0
    for _ in range(50):
        try:
            permits.append(breaker.acquire())
        except CircuitOpen:
            refused += 1
    assert (len(permits), refused) == (3, 47)
    assert breaker.probes_in_flight == 3


def test_young_cancellations_are_neutral(clock):
    """30 callers who hang up at once say nothing about the dependency."""
    breaker = make(clock)
    for _ in range(30):
        permit = breaker.acquire()
        permit.cancel()
        assert permit.verdict is Verdict.IGNORED
    assert breaker.state is State.CLOSED


def test_old_cancellations_count_as_slow(clock):
    """A dependency that hangs past every caller's patience opens the breaker."""
    breaker = make(clock)
    for _ in range(POLICY.min_calls):
        permit = breaker.acquire()
        clock.now += POLICY.slow_call_s + 0.1
        permit.cancel()
    assert breaker.state is State.OPEN


def test_a_cancelled_probe_gives_its_permit_back(clock):
    """It neither closes the breaker nor uses up a probe for good."""
    breaker = make(clock)
    half_open(breaker, clock)
    for _ in range(POLICY.probes * 2):
        breaker.acquire().cancel()
    assert breaker.state is State.HALF_OPEN
    breaker.acquire().succeed()


def test_late_results_neither_extend_the_open_time_nor_count(clock):
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


def test_a_late_success_is_no_probe(clock):
    """A result from the closed state must not close a half-open breaker."""
    breaker = make(clock)
    old = [breaker.acquire() for _ in range(POLICY.probes)]
    half_open(breaker, clock)
    for permit in old:
        permit.succeed()
    assert breaker.state is State.HALF_OPEN


def test_settling_twice_counts_once(clock):
    """The first settlement decides."""
    breaker = make(clock)
    permit = breaker.acquire()
    permit.succeed()
    for _ in range(POLICY.min_calls * 2):
        permit.fail()
    assert permit.verdict is Verdict.SUCCESS
    assert breaker.state is State.CLOSED


def lose_all_probes(breaker, clock):
    half_open(breaker, clock)
    lost = [breaker.acquire() for _ in range(POLICY.probes)]
    with pytest.raises(CircuitOpen):
        breaker.acquire()
    return lost


def test_probes_that_never_report_do_not_wedge_the_breaker(clock):
    """After their lease they count as slow: it opens again, and the next open time leads to new probes."""
    breaker = make(clock)
    lost = lose_all_probes(breaker, clock)
    clock.now += POLICY.probe_lease_s
    with pytest.raises(CircuitOpen) as refused:
        breaker.acquire()
    assert breaker.state is State.OPEN
    clock.now += refused.value.retry_after_s
    for _ in range(POLICY.probes):
        breaker.acquire().succeed()
    assert breaker.state is State.CLOSED
    for permit in lost:  # found again, far too late
        permit.fail()
    assert breaker.state is State.CLOSED


def test_before_the_end_of_its_lease_a_probe_keeps_its_place(clock):
    """Negative control: a probe that is merely slow to report is waited for."""
    breaker = make(clock)
    lose_all_probes(breaker, clock)
    clock.now += POLICY.probe_lease_s - 0.1
    with pytest.raises(CircuitOpen):
        breaker.acquire()
    assert breaker.state is State.HALF_OPEN


def test_a_long_stream_with_a_quick_first_token_is_a_good_probe(clock):
    """Streams outlive any lease; what counted for them has been known since their first token."""
    breaker = make(clock)
    half_open(breaker, clock)
    for _ in range(POLICY.probes):
        breaker.acquire().first_result()
    clock.now += POLICY.probe_lease_s
    breaker.acquire().release()
    assert breaker.state is State.CLOSED


def test_a_lease_shorter_than_a_slow_call_is_refused():
    """It would give up a probe before it could be called slow; the message names both numbers."""
    with pytest.raises(ValueError, match=r"probe_lease_s 1 is below slow_call_s 2"):
        BreakerPolicy(slow_call_s=2.0, probe_lease_s=1.0)


@pytest.mark.parametrize("by_hand", ["open", "close", "half_open"])
def test_what_was_under_way_before_a_transition_by_hand_is_late(clock, by_hand):
    """An operator's word begins a new generation: older calls no longer judge."""
    breaker = make(clock)
    under_way = [breaker.acquire() for _ in range(POLICY.min_calls)]
    getattr(breaker.core, by_hand)()
    state = breaker.state
    for permit in under_way:
        permit.fail()
    assert breaker.state is state
    assert breaker.late_results == POLICY.min_calls


def test_closing_by_hand_ends_an_outage_at_once(clock):
    """Calls go through again, and the next outage starts with the shortest open time."""
    breaker = make(clock)
    trip(breaker)
    breaker.core.close()
    breaker.acquire().release()
    trip(breaker)
    with pytest.raises(CircuitOpen) as refused:
        breaker.acquire()
    assert refused.value.retry_after_s == pytest.approx(POLICY.open_s)


def test_an_abandoned_permit_is_not_kept_alive(clock):
    """Closed, the breaker holds no reference to the permits that it gave."""
    breaker = make(clock)
    for _ in range(100):
        breaker.acquire()
    gc.collect()
    kept = [thing for thing in gc.get_objects() if isinstance(thing, Permit) and thing._breaker is breaker]
    assert kept == []
