"""Admission: a bound on answers under way, a short wait, the least critical turned away first."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_service.api.admission import Admission, AdmissionPolicy
from rag_service.errors import Overloaded
from rag_service.resilience.limiter import Fixed

CLASSES = ("critical", "normal", "sheddable")


@pytest.fixture
def make(clock):
    def make_admission(limit=10, **policy):
        limiter = Fixed(limit) if limit is not None else None
        return Admission(limiter, AdmissionPolicy(**policy), clock=clock, rng=random.Random(1))

    return make_admission


def fill(admission, number):
    return [admission.admit_now("critical") for _ in range(number)]


class Moving:
    """A limiter that a test moves."""

    def __init__(self, limit):
        self.limit = limit
        self.samples = []

    def observe(self, sample):
        self.samples.append(sample)


def test_less_critical_work_meets_its_limit_first(make):
    """With 10 places and no time to wait: sheddable up to 5, normal up to 9, critical up to 10."""
    admission = make(max_wait_s=0.0)
    for upto, criticality in ((5, "sheddable"), (9, "normal"), (10, "critical")):
        fill(admission, upto - admission.in_flight)
        with pytest.raises(Overloaded):
            admission.admit_now(criticality)


def test_a_place_that_comes_free_goes_to_who_waits(run, make):
    """Critical work first, then in the order of coming."""
    admission = make(2)
    order = []

    async def come(name, criticality):
        ticket = await admission.admit(criticality)
        order.append(name)
        ticket.give_back()

    async def crowd():
        held, ticket = fill(admission, 2)
        waiting = [
            asyncio.ensure_future(come(name, criticality))
            for name, criticality in (("n", "normal"), ("c1", "critical"))
        ]
        await asyncio.sleep(0.01)
        ticket.give_back()
        await asyncio.sleep(0)
        held.give_back()  # normal work may fill one of two places only
        await asyncio.gather(*waiting)

    run(crowd())
    assert order == ["c1", "n"]
    assert (admission.in_flight, admission.queued) == (0, 0)


def test_nobody_waits_longer_than_the_queue_lasts(run, clock, make):
    """No place comes free: refused after 30 ms, not after a second."""
    admission = make(1)

    async def wait():
        fill(admission, 1)
        started = clock()
        with pytest.raises(Overloaded):
            await admission.admit("critical")
        return clock() - started

    assert run(wait()) == pytest.approx(0.03)
    assert admission.queued == 0


def test_who_would_wait_too_long_is_refused_at_once(run, clock, make):
    """Answers stay a second, ten at a time: one place in 100 ms is not worth 30 ms of waiting for."""
    admission = make(10)

    async def wait():
        tickets = fill(admission, 10)
        clock.advance(1.0)
        tickets.pop().give_back()
        fill(admission, 1)
        with pytest.raises(Overloaded):
            admission.admit_now("critical")

    run(wait())


def test_sheddable_work_never_waits(make):
    """It is sent away at half of the limit, and finds out in microseconds."""
    admission = make(10)
    fill(admission, 5)
    with pytest.raises(Overloaded):
        admission.admit_now("sheddable")


def test_a_full_queue_sheds_the_least_critical(run, make):
    """A critical newcomer takes the newest normal waiter's place; a normal one is refused."""
    admission = make(2, max_wait_s=1.0)

    async def crowd():
        tickets = fill(admission, 2)
        normal = [asyncio.ensure_future(admission.admit("normal")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await admission.admit("normal")
        critical = asyncio.ensure_future(admission.admit("critical"))
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded):
            await normal[1]
        assert admission.queued == 2
        tickets[0].give_back()
        tickets[0] = await critical
        for ticket in tickets:
            ticket.give_back()
        (await normal[0]).give_back()

    run(crowd())
    assert (admission.in_flight, admission.queued) == (0, 0)


def test_a_place_that_came_free_before_the_wait_began_is_taken(run, clock, make):
    """Told to wait, but the wait begins in another task, a moment later."""
    admission = make(1)

    async def scene():
        (ticket,) = fill(admission, 1)
        assert admission.admit_now("critical") is None
        ticket.give_back()
        started = clock()
        (await admission.wait("critical")).give_back()
        return clock() - started

    assert run(scene()) == 0.0
    assert (admission.in_flight, admission.queued) == (0, 0)


def test_many_who_are_told_to_wait_at_once_keep_to_the_bounds(run, make):
    """All of them looked before any began to wait; the queue still holds as many as the limit."""
    admission = make(2, max_wait_s=1.0)

    async def scene():
        fill(admission, 2)
        assert [admission.admit_now("critical") for _ in range(5)] == [None] * 5
        waiting = [asyncio.ensure_future(admission.wait("critical")) for _ in range(5)]
        await asyncio.sleep(0.001)
        refused = [one for one in waiting if one.done() and isinstance(one.exception(), Overloaded)]
        queued = admission.queued
        await asyncio.wait(waiting)
        return len(refused), queued, [one.exception() is None for one in waiting]

    assert run(scene()) == (3, 2, [False] * 5)


def test_an_impatient_callers_timeout_is_no_drop(clock):
    """Only a wait that makes a first token slow says something about how much can be borne."""
    limiter = Moving(10)
    admission = Admission(limiter, AdmissionPolicy(slow_s=1.5), clock=clock, rng=random.Random(1))
    impatient, patient = fill(admission, 2)
    clock.advance(1.4)
    impatient.timed_out()
    assert limiter.samples == []
    clock.advance(0.1)
    patient.timed_out()
    (sample,) = limiter.samples
    assert (sample.latency_s, sample.dropped) == (pytest.approx(1.5), True)


def test_an_answer_alone_is_never_brief(make):
    """With a limit of 1, three quarters of it are less than one."""
    assert [ticket.pressure for ticket in fill(make(1), 1)] == [False]
    assert [ticket.pressure for ticket in fill(make(2), 2)] == [False, True]


def test_who_hangs_up_leaves_the_queue(run, make):
    """The place goes to the next, also when both happen in the same moment."""
    admission = make(2)

    async def crowd():
        _, ticket = fill(admission, 2)
        first, second = (asyncio.ensure_future(admission.admit("critical")) for _ in range(2))
        await asyncio.sleep(0)
        ticket.give_back()  # the first is granted, but has not run yet
        first.cancel()
        return await second

    assert run(crowd()).pressure
    assert (admission.in_flight, admission.queued) == (2, 0)


def test_a_limit_that_rises_lets_the_waiting_in(run, clock):
    """No answer has to end for that."""
    limiter = Moving(1)
    admission = Admission(limiter, AdmissionPolicy(), clock=clock, rng=random.Random(1))

    async def crowd():
        (ticket,) = fill(admission, 1)
        waiting = asyncio.ensure_future(admission.admit("critical"))
        await asyncio.sleep(0)
        limiter.limit = 2
        clock.advance(0.25)
        ticket.first_token()
        await waiting

    run(crowd())
    (sample,) = limiter.samples
    assert (sample.latency_s, sample.in_flight, sample.dropped) == (pytest.approx(0.25), 1, False)


def test_above_its_share_an_answer_is_brief(make):
    """Three quarters of 8 are 6: the seventh is made under pressure."""
    admission = make(8)
    assert [ticket.pressure for ticket in fill(admission, 8)] == [False] * 6 + [True] * 2


def test_the_models_places_count_where_they_are_fewer(clock):
    """Behind 4 generations only extracts are left, however many answers may be under way."""
    admission = Admission(
        Fixed(100), AdmissionPolicy(), model_limit=Moving(4), clock=clock, rng=random.Random(1)
    )
    assert [ticket.pressure for ticket in fill(admission, 5)] == [False] * 3 + [True] * 2


def test_those_refused_return_at_different_times(make):
    """Otherwise they would be the next spike."""
    admission = make(1)
    fill(admission, 1)
    times = set()
    for _ in range(50):
        with pytest.raises(Overloaded) as refused:
            admission.admit_now("sheddable")
        times.add(round(refused.value.retry_after_s, 3))
    assert len(times) > 40
    assert min(times) >= 0.5
    assert max(times) <= 2.5


def test_a_ticket_given_back_twice_counts_once(make):
    """However many ways a response ends, one place comes free."""
    admission = make(10)
    ticket, *_ = fill(admission, 3)
    ticket.give_back()
    ticket.give_back()
    ticket.first_token()
    assert admission.in_flight == 2


def test_without_a_limit_it_only_counts(make):
    """Resilience off admits everybody, and nobody is brief."""
    admission = make(None)
    assert not any(ticket.pressure for ticket in fill(admission, 1000))
    assert admission.in_flight == 1000


class Hopeful(Admission):
    """Negative control: lets everybody wait, whether or not a place can come free in time."""

    def _expected_wait_s(self, _):
        return -1.0


@pytest.mark.parametrize(
    ("kind", "max_wait_s"), [(Admission, 0.0), (Admission, 0.03), (Admission, 0.1), (Hopeful, 0.1)]
)
def test_a_tenfold_spike_in_virtual_time(run, clock, kind, max_wait_s, record_property):
    """128 places, answers of 1 to 3 s, 640 callers a second for 20 s: places stay full, no refusal is slow.

    Critical work hardly notices, and sheddable work goes first. Without the estimate most refusals are slow.
    """
    policy = AdmissionPolicy(max_wait_s=max_wait_s)
    admission = kind(Fixed(128), policy, clock=clock, rng=random.Random(1))
    rng = random.Random(3)
    waited = {name: [] for name in CLASSES}
    admitted = Counter()
    busy_s = 0.0

    async def come(criticality):
        nonlocal busy_s
        asked_at = clock()
        try:
            ticket = await admission.admit(criticality)
        except Overloaded:
            waited[criticality].append(clock() - asked_at)
            return
        admitted[criticality] += 1
        stay_s = rng.uniform(1.0, 3.0)
        if clock() > began + 3.0:
            busy_s += stay_s
        await asyncio.sleep(stay_s)
        ticket.give_back()

    async def spike():
        tasks = []
        while clock() < began + 20.0:
            await asyncio.sleep(rng.expovariate(640.0))
            criticality = rng.choices(CLASSES, (2, 78, 20))[0]
            tasks.append(asyncio.ensure_future(come(criticality)))
        await asyncio.gather(*tasks)

    began = clock()
    run(spike())
    refused = sorted(wait for waits in waited.values() for wait in waits)
    late = [wait for wait in refused if wait > 0.001]
    figures = {
        "asked": sum(admitted.values()) + len(refused),
        "busy_ratio": busy_s / (17.0 * 128),
        "refused_at_once_ratio": 1.0 - len(late) / len(refused),
        "slowest_refusal_s": refused[-1],
        **{
            f"admitted_{name}_ratio": admitted[name] / (admitted[name] + len(waited[name]))
            for name in CLASSES
        },
    }
    for name, value in figures.items():
        record_property(name, round(value, 4))
    print({name: round(value, 4) for name, value in figures.items()})
    assert figures["busy_ratio"] > 0.85  # normal work may fill nine tenths
    assert refused[-1] <= max_wait_s + 0.001
    if kind is Hopeful:
        assert figures["refused_at_once_ratio"] < 0.5
    else:
        assert figures["refused_at_once_ratio"] > 0.9
    assert figures["admitted_critical_ratio"] > 0.95
    assert figures["admitted_sheddable_ratio"] < figures["admitted_normal_ratio"]


@st.composite
def callers(draw):
    """When each comes, how critical, how long it stays, and when it hangs up, if it does."""
    number = draw(st.integers(1, 25))
    moments = st.floats(0.0, 0.2)
    return [
        (draw(moments), draw(st.sampled_from(CLASSES)), draw(moments), draw(st.none() | moments))
        for _ in range(number)
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    crowd=callers(),
    limit=st.integers(1, 6),
    moves=st.lists(st.tuples(st.floats(0.0, 0.3), st.integers(1, 6)), max_size=3),
)
def test_whoever_comes_and_goes_no_place_is_lost(run, clock, crowd, limit, moves):
    """In any crowd, with a limit that moves: never above it, nobody waits too long, nothing left behind.

    And no wake-up is lost: while somebody waits who may come in, nobody is left outside.
    """
    limiter = Moving(limit)
    admission = Admission(limiter, AdmissionPolicy(), clock=clock, rng=random.Random(1))
    highest = max([limit, *(to for _, to in moves)])

    def check():
        assert 0 <= admission.in_flight <= highest
        assert admission.queued <= highest
        for criticality, queue in admission._queues.items():
            alive = [waiter for waiter in queue if not waiter.place.done()]
            assert not (alive and admission._has_place(criticality))

    async def come(at_s, criticality, stay_s):
        await asyncio.sleep(at_s)
        asked_at = clock()
        try:
            ticket = await admission.admit(criticality)
        except Overloaded:
            assert clock() - asked_at <= 0.03 + 1e-6
            check()
            return
        try:
            assert clock() - asked_at <= 0.03 + 1e-6
            check()
            await asyncio.sleep(stay_s)
            ticket.first_token()
        finally:
            ticket.give_back()
            check()

    async def hang_up(task, at_s):
        await asyncio.sleep(at_s)
        task.cancel()

    async def move(at_s, to):
        await asyncio.sleep(at_s)
        limiter.limit = to
        admission._grant()  # as `observe` does after each sample

    async def everybody():
        tasks = []
        for at_s, criticality, stay_s, hangs_up_s in crowd:
            task = asyncio.ensure_future(come(at_s, criticality, stay_s))
            tasks.append(task)
            if hangs_up_s is not None:
                tasks.append(asyncio.ensure_future(hang_up(task, hangs_up_s)))
        tasks += [asyncio.ensure_future(move(at_s, to)) for at_s, to in moves]
        return await asyncio.gather(*tasks, return_exceptions=True)

    failures = [one for one in run(everybody()) if isinstance(one, Exception)]
    assert not failures, failures
    assert (admission.in_flight, admission.queued) == (0, 0)
