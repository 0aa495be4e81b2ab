"""Each trap of pybreaker 1.4.1 under asyncio, run twice: on pybreaker itself, and on the guard around it.

The half that runs on pybreaker asserts its bad behaviour, so that an upgrade which removes a trap is noticed
(the test fails, and the guard may become simpler). `pytest -v` on this file prints the figures in the
tests' names: `[pybreaker-50]` and `[guard-3]` are 50 and 3 calls that got through.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import datetime
import random
import threading
import time
from importlib import metadata

import pybreaker
import pytest
import tenacity

from rag_service.errors import CircuitOpen
from rag_service.resilience.breaker import Breaker, BreakerPolicy, State

OPEN_S = 5.0


class Time:
    """What the guard takes for the time; pybreaker reads the wall clock and cannot be told."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Broken(Exception):
    """What a failing dependency raises."""


class Plain:
    """pybreaker, used through `calling()`: the one way in that works around an await at all."""

    refusal = pybreaker.CircuitBreakerError

    def __init__(self, **more):
        self.core = pybreaker.CircuitBreaker(**{"fail_max": 5, "reset_timeout": OPEN_S, **more})

    def calling(self):
        return self.core.calling()

    async def call(self, work):
        with self.core.calling():
            return await work()

    def half_open(self):
        self.core.half_open()

    @property
    def state(self):
        return self.core.current_state


class Guarded:
    """Our guard, used as `Guard` uses it: acquire, call, settle."""

    refusal = CircuitOpen

    def __init__(self, **more):
        self.time = Time()
        policy = BreakerPolicy(open_jitter_ratio=0.0, open_s=OPEN_S, min_calls=5, **more)
        self.breaker = Breaker("db", policy, clock=self.time, rng=random.Random(1))
        self.core = self.breaker.core

    @contextlib.contextmanager
    def calling(self):
        permit = self.breaker.acquire()
        try:
            yield
        except asyncio.CancelledError:
            permit.cancel()
            raise
        except BaseException:
            permit.fail()
            raise
        permit.succeed()

    async def call(self, work):
        with self.calling():
            return await work()

    def half_open(self):
        self.core.open()
        self.time.now += self.breaker.policy.max_open_s
        self.breaker.acquire().release()

    @property
    def state(self):
        return {State.HALF_OPEN: "half-open"}.get(self.breaker.state, str(self.breaker.state))


def both(plain, guard):
    """Run the test on pybreaker and on the guard, each with its own expectation."""
    return pytest.mark.parametrize(
        ("make", "expected"),
        [
            pytest.param(Plain, plain, id=f"pybreaker-{plain}"),
            pytest.param(Guarded, guard, id=f"guard-{guard}"),
        ],
    )


def fail(subject, times):
    for _ in range(times):
        with contextlib.suppress(Broken, subject.refusal), subject.calling():
            raise Broken


def test_this_is_the_version_whose_traps_these_are():
    """After an upgrade every figure here wants another look."""
    assert metadata.version("pybreaker") == "1.4.1"


@both(plain=50, guard=3)
def test_half_open_calls_let_through_of_50(make, expected):
    """pybreaker lets everybody into half-open, the dependency's weakest moment; the guard sends three."""
    subject = make()
    subject.half_open()
    at_once = 0
    most = 0

    async def work():
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1

    async def storm():
        await asyncio.gather(*(subject.call(work) for _ in range(50)), return_exceptions=True)

    asyncio.run(storm())
    assert most == expected


@both(plain="closed", guard="open")
def test_a_decorated_coroutine_that_always_fails(make, expected):
    """pybreaker's decorator counts a success once the coroutine object exists: ten failures, counter 0."""
    subject = make()

    async def broken():
        raise Broken

    call = subject.core(broken) if make is Plain else lambda: subject.call(broken)
    for _ in range(10):
        with contextlib.suppress(Broken, subject.refusal):
            asyncio.run(call())
    assert subject.state == expected
    if make is Plain:
        assert subject.core.fail_counter == 0


@both(plain="closed", guard="open")
def test_a_decorated_token_stream_that_always_breaks(make, expected):
    """The same for an async generator, which is what a token stream is."""
    subject = make()

    async def stream():
        yield "a token"
        raise Broken

    decorated = subject.core(stream) if make is Plain else None

    async def read():
        if decorated:
            return [token async for token in decorated()]
        with subject.calling():
            return [token async for token in stream()]

    for _ in range(10):
        with contextlib.suppress(Broken, subject.refusal):
            asyncio.run(read())
    assert subject.state == expected


def test_the_async_door_needs_tornado(monkeypatch):
    """pybreaker's `call_async` is Tornado's (which only bokeh brings here): without it, a NameError."""

    async def fine():
        return "ok"

    monkeypatch.delattr(pybreaker, "gen", raising=False)
    with pytest.raises(NameError, match="gen"):
        pybreaker.CircuitBreaker().call_async(fine)
    assert asyncio.run(Guarded().call(fine)) == "ok"


@both(plain="open", guard="closed")
def test_state_after_30_callers_who_hung_up_at_once(make, expected):
    """Clients who leave say nothing about the dependency; pybreaker counts each as its failure."""
    subject = make()
    for _ in range(30):
        with contextlib.suppress(asyncio.CancelledError, subject.refusal), subject.calling():
            raise asyncio.CancelledError
    assert subject.state == expected


async def _hang():
    await asyncio.sleep(60.0)


async def _cancel_the_fifth(subject):
    """What the fifth cancelled task looks like to whoever cancelled it."""
    task = None
    for _ in range(5):
        task = asyncio.create_task(subject.call(_hang))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    return "cancelled" if task.cancelled() else type(task.exception()).__name__


@both(plain="CircuitBreakerError", guard="cancelled")
def test_what_a_cancelled_task_ends_as(make, expected):
    """The cancellation that trips pybreaker is replaced by its own error, so the task was never cancelled."""
    assert asyncio.run(_cancel_the_fifth(make())) == expected


@both(plain="CircuitBreakerError", guard="TimeoutError")
def test_what_a_timeout_ends_as(make, expected):
    """asyncio.timeout() around the call that trips pybreaker does not raise TimeoutError."""
    subject = make()

    async def impatient():
        for _ in range(4):
            with contextlib.suppress(asyncio.CancelledError), subject.calling():
                raise asyncio.CancelledError
        async with asyncio.timeout(0.001):
            await subject.call(_hang)

    with pytest.raises(Exception) as raised:
        asyncio.run(impatient())
    assert type(raised.value).__name__ == expected


def test_throw_new_error_on_trip_off_mends_the_type_and_not_the_count():
    """The documented way out keeps the cancellation a cancellation, and still opens on five of them."""
    plain = Plain(throw_new_error_on_trip=False)
    assert asyncio.run(_cancel_the_fifth(plain)) == "cancelled"
    assert plain.state == "open"
    guard = Guarded()
    assert asyncio.run(_cancel_the_fifth(guard)) == "cancelled"
    assert guard.state == "closed"


@both(plain="closed", guard="half-open")
def test_state_after_a_cancelled_probe(make, expected):
    """Excluding cancellations makes them successes for pybreaker: a probe that was hung up on closes it."""
    subject = make(exclude=[asyncio.CancelledError]) if make is Plain else make()
    subject.half_open()
    with contextlib.suppress(asyncio.CancelledError), subject.calling():
        raise asyncio.CancelledError
    assert subject.state == expected


class Refused(Exception, metaclass=abc.ABCMeta):
    """An exception class with a metaclass, as libraries have them."""


@both(plain="closed", guard="open")
def test_state_after_failures_of_another_kind_than_the_excluded(make, expected):
    """pybreaker calls a class with a metaclass as if it were a predicate, and so excludes every error."""
    subject = make(exclude=[Refused]) if make is Plain else make()
    fail(subject, 20)
    assert subject.state == expected


@both(plain="closed", guard="open")
def test_state_under_a_steady_60_percent_of_failures(make, expected):
    """Counting consecutive failures is blind to three failures of every five in 2,000 calls."""
    subject = make()
    for number in range(2000):
        with contextlib.suppress(Broken, subject.refusal), subject.calling():
            if number % 5 < 3:
                raise Broken
    assert subject.state == expected


def _opened_at(subject):
    """When the open state began, as each of them will count it."""
    if isinstance(subject, Plain):
        return subject.core._state_storage.opened_at.timestamp()
    return subject.breaker._reopens_at - OPEN_S


@both(plain="later", guard="unchanged")
def test_when_the_open_state_began_after_late_failures(make, expected):
    """Calls under way when it opened fail a little later; each starts pybreaker's open time anew."""
    subject = make()

    async def outage():
        fail_now = asyncio.Event()

        async def late():
            await fail_now.wait()
            raise Broken

        late_calls = [asyncio.create_task(subject.call(late)) for _ in range(5)]
        await asyncio.sleep(0)
        fail(subject, 5)
        assert subject.state == "open"
        opened = _opened_at(subject)
        if isinstance(subject, Guarded):
            subject.time.now += 1.0
        else:
            time.sleep(0.002)  # only wall time can show it: pybreaker's clock cannot be passed in
        fail_now.set()
        await asyncio.gather(*late_calls, return_exceptions=True)
        return "later" if _opened_at(subject) > opened else "unchanged"

    assert asyncio.run(outage()) == expected


@both(plain="open", guard="half-open")
def test_state_after_a_failure_from_before_the_outage(make, expected):
    """A call that began long ago fails in half-open: pybreaker reopens, though no probe has failed."""
    subject = make()

    async def outage():
        end_now = asyncio.Event()

        async def late():
            await end_now.wait()
            raise Broken

        old = asyncio.create_task(subject.call(late))
        await asyncio.sleep(0)
        fail(subject, 5)
        subject.half_open()
        end_now.set()
        await asyncio.wait([old])
        assert old.exception() is not None

    asyncio.run(outage())
    assert subject.state == expected


@both(plain="closed", guard="open")
def test_state_when_every_call_takes_three_times_too_long(make, expected):
    """pybreaker knows no slow call: a dependency that answers late for ever looks healthy to it."""
    subject = make()
    for _ in range(20):
        with contextlib.suppress(subject.refusal), subject.calling():
            if isinstance(subject, Guarded):
                subject.time.now += 1.0
    assert subject.state == expected


@both(plain="closed", guard="open")
def test_state_when_the_dependency_hangs_and_callers_leave_first(make, expected):
    """With cancellations excluded, a dependency that always hangs past its callers never opens pybreaker."""
    subject = make(exclude=[asyncio.CancelledError]) if make is Plain else make()
    for _ in range(20):
        with contextlib.suppress(asyncio.CancelledError, subject.refusal), subject.calling():
            if isinstance(subject, Guarded):
                subject.time.now += 2.0
            raise asyncio.CancelledError
    assert subject.state == expected


@both(plain="still open", guard="half-open")
def test_state_when_the_wall_clock_was_set_back_an_hour(make, expected):
    """pybreaker counts its open time on the wall clock: set back an hour, it stays open an hour longer."""
    subject = make()
    fail(subject, 5)
    if isinstance(subject, Plain):
        ahead = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
        subject.core._state_storage.opened_at = ahead  # what an opening before the change looks like
        subject.core.reset_timeout = 0.0
    else:
        subject.time.now += OPEN_S
    try:
        with subject.calling():
            state = subject.state
    except subject.refusal:
        state = "still open"
    assert state == expected


@both(plain=1, guard=4)
def test_calls_of_four_threads_that_run_at_once(make, expected):
    """pybreaker's `call` holds its lock for as long as the call takes; the guard holds nothing."""
    subject = make()
    inside = 0
    most = 0
    lock = threading.Lock()
    ready = threading.Barrier(4)
    all_in = threading.Event()
    patience_s = 0.01 if make is Plain else 10.0  # each who is alone inside waits in vain for the others

    def work():
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            if inside == 4:
                all_in.set()
        all_in.wait(patience_s)
        with lock:
            inside -= 1

    def caller():
        ready.wait()
        if isinstance(subject, Plain):
            subject.core.call(work)
            return
        with lock:  # the guard lives on one event loop; only what it guards runs in parallel
            permit = subject.breaker.acquire()
        work()
        with lock:
            permit.succeed()

    threads = [threading.Thread(target=caller) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == expected


@pytest.mark.parametrize(
    ("breaker_inside", "expected"),
    [pytest.param(False, 15, id="breaker-outside-15"), pytest.param(True, 5, id="breaker-inside-5")],
)
def test_calls_that_reach_a_dead_dependency_before_it_opens(breaker_inside, expected):
    """Three attempts per call: with the breaker around the retries, it counts one failure of every three."""
    plain = Plain(throw_new_error_on_trip=False)
    reached = 0

    def dead():
        nonlocal reached
        reached += 1
        raise Broken

    def thrice(call):
        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(3), retry=tenacity.retry_if_exception_type(Broken), reraise=True
        )(call)

    for _ in range(20):
        with contextlib.suppress(Broken, Plain.refusal):
            if breaker_inside:
                thrice(lambda: plain.core.call(dead))
            else:
                plain.core.call(lambda: thrice(dead))
    assert reached == expected
