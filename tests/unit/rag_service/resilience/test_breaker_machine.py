"""Any order of calls, settlements, pauses and orders by hand: the guard does what a plain model of it says.

The model keeps every call that ever was and counts anew each time; the guard keeps running sums, a table of
probes and generations. Whatever hypothesis thinks of, both must agree.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rag_service.errors import CircuitOpen
from rag_service.resilience.breaker import Breaker, BreakerPolicy, Permit, State

POLICY = BreakerPolicy(
    window_s=10.0,
    min_calls=4,
    failure_ratio=0.5,
    slow_call_s=0.3,
    slow_ratio=0.75,
    open_s=5.0,
    max_open_s=12.0,
    open_jitter_ratio=0.0,
    probes=2,
    probe_lease_s=3.0,
)


class ManualClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Call:
    """One call as the model remembers it."""

    permit: Permit
    era: int
    began: float
    first_result_at: float | None = None
    settled: bool = False
    probe: bool = False


@dataclass
class Model:
    """The rules of the guard in their plainest form. Times are in whole tenths of a second."""

    state: State = State.CLOSED
    era: int = 0
    trips: int = 0
    reopens_at: float = 0.0
    good_probes: int = 0
    counted: list[tuple[float, bool, bool]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def become(self, state: State, now: float) -> None:
        self.state = state
        self.era += 1
        self.counted = []
        self.good_probes = 0
        if state is State.OPEN:
            self.reopens_at = now + min(POLICY.max_open_s, POLICY.open_s * 2**self.trips)
            self.trips += 1
        elif state is State.CLOSED:
            self.trips = 0

    def probes_out(self) -> list[Call]:
        return [call for call in self.calls if call.probe and call.era == self.era and not call.settled]

    def recent(self, now: float) -> list[tuple[float, bool, bool]]:
        return [entry for entry in self.counted if entry[0] >= now - POLICY.window_s]

    def may_call(self, now: float) -> bool:
        if self.state is State.OPEN and now >= self.reopens_at:
            self.become(State.HALF_OPEN, now)
        if self.state is State.HALF_OPEN:
            for call in self.probes_out():
                if now - call.began >= POLICY.probe_lease_s:
                    self.settle(call, "succeed", now)
        if self.state is State.HALF_OPEN:
            return len(self.probes_out()) + self.good_probes < POLICY.probes
        return self.state is State.CLOSED

    def settle(self, call: Call, how: str, now: float) -> None:
        took = (now if call.first_result_at is None else call.first_result_at) - call.began
        slow = took >= POLICY.slow_call_s
        was_settled, call.settled = call.settled, True
        if was_settled or call.era != self.era or how == "release" or (how == "cancel" and not slow):
            return
        failed = how == "fail"
        if self.state is State.HALF_OPEN:
            if failed or slow:
                self.become(State.OPEN, now)
                return
            self.good_probes += 1
            if self.good_probes >= POLICY.probes:
                self.become(State.CLOSED, now)
            return
        self.counted.append((now, failed, slow))
        recent = self.recent(now)
        if len(recent) < POLICY.min_calls:
            return
        failures, slows = sum(e[1] for e in recent), sum(e[2] for e in recent)
        if failures >= POLICY.failure_ratio * len(recent) or slows >= POLICY.slow_ratio * len(recent):
            self.become(State.OPEN, now)


class BreakerMachine(RuleBasedStateMachine):
    """The guard beside its model."""

    @initialize()
    def begin(self) -> None:
        self.clock = ManualClock()
        self.breaker = Breaker("db", POLICY, clock=self.clock, rng=random.Random(1))
        self.model = Model()

    # Eighths of a second are exact in binary, so both sides agree to the last bit about "long enough".
    @rule(pause_s=st.sampled_from([0.125, 0.25, 0.375, 1.0, 3.0, 5.0, 10.0, 12.0]))
    def wait(self, pause_s: float) -> None:
        self.clock.now += pause_s

    @rule()
    def acquire(self) -> None:
        allowed = self.model.may_call(self.clock.now)
        try:
            permit = self.breaker.acquire()
        except CircuitOpen as refused:
            assert not allowed
            assert refused.retry_after_s > 0.0
            return
        assert allowed
        probe = self.model.state is State.HALF_OPEN
        self.model.calls.append(Call(permit, self.model.era, self.clock.now, probe=probe))

    @precondition(lambda self: self.model.calls)
    @rule(how=st.sampled_from(["succeed", "fail", "cancel", "release"]), data=st.data())
    def settle(self, how: str, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.model.calls))
        late = call.era != self.model.era or call.settled
        before = (self.breaker.state, self.breaker._generation, self.breaker._window.rates())
        getattr(call.permit, how)()
        self.model.settle(call, how, self.clock.now)
        if late:
            after = (self.breaker.state, self.breaker._generation, self.breaker._window.rates())
            assert after == before

    @precondition(lambda self: self.model.calls)
    @rule(data=st.data())
    def first_result(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.model.calls))
        call.permit.first_result()
        if call.first_result_at is None:
            call.first_result_at = self.clock.now

    @rule(how=st.sampled_from(["fail", "succeed"]))
    def several_calls(self, how: str) -> None:
        for _ in range(POLICY.min_calls):
            before = len(self.model.calls)
            self.acquire()
            if len(self.model.calls) > before:
                call = self.model.calls[-1]
                getattr(call.permit, how)()
                self.model.settle(call, how, self.clock.now)

    @rule(state=st.sampled_from([State.OPEN, State.HALF_OPEN, State.CLOSED]))
    def by_hand(self, state: State) -> None:
        core = self.breaker.core
        {State.OPEN: core.open, State.HALF_OPEN: core.half_open, State.CLOSED: core.close}[state]()
        self.model.become(state, self.clock.now)

    @invariant()
    def same_state(self) -> None:
        assert self.breaker.state is self.model.state

    @invariant()
    def half_open_calls_in_flight_are_at_most_the_probes(self) -> None:
        assert self.breaker.probes_in_flight == len(self.model.probes_out())
        assert self.breaker.probes_in_flight <= POLICY.probes

    @invariant()
    def window_sums_equal_a_recount(self) -> None:
        rates = self.breaker._window.rates()
        recent = self.model.recent(self.clock.now)
        expected = (len(recent), sum(e[1] for e in recent), sum(e[2] for e in recent))
        assert (rates.calls, rates.failures, rates.slow) == expected

    @invariant()
    def an_open_breaker_says_when(self) -> None:
        if self.model.state is State.OPEN:
            assert self.breaker._reopens_at == self.model.reopens_at
            assert self.breaker._reopens_at - self.clock.now <= POLICY.max_open_s

    def teardown(self) -> None:
        """However it got here and whoever lost a permit: waiting and good calls lead back to closed."""
        if not hasattr(self, "breaker"):
            return
        for _ in range(10):
            self.clock.now += max(POLICY.max_open_s, POLICY.probe_lease_s)
            for _ in range(POLICY.probes):
                try:
                    self.breaker.acquire().succeed()
                except CircuitOpen:
                    break
            if self.breaker.state is State.CLOSED:
                return
        raise AssertionError(f"stuck in {self.breaker.state}")


BreakerMachine.TestCase.settings = hypothesis_settings(max_examples=150, stateful_step_count=40)
TestBreakerMachine = BreakerMachine.TestCase
