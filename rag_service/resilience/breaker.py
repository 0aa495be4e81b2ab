"""A breaker for asyncio with Resilience4j's rules, on top of pybreaker.

pybreaker 1.4.1 keeps the state, the listeners and the storage, through its public `open()`,
`half_open()`, `close()`, `current_state` and `state_change`. Used plainly under asyncio it is unsafe:
a decorated coroutine counts as success when it is created, a cancelled call counts as a failure (or, if
excluded, as a success that closes a half-open breaker), all of 50 callers get through in half-open,
late failures push the end of the open state further out, and a steady 60 % failure rate never opens it.
So this guard owns admission and classification: `acquire()` gives a permit or refuses at once, and the
permit is settled exactly once, whenever the call (or its token stream) ends. Each trap is a test.

Cancellation: a client that hangs up, a hedge's loser and an outer deadline all arrive as CancelledError.
A *young* one says nothing, and gives its permit back; an *old* one (at least `slow_call_s`) counts as a
slow call, or a dependency that hangs past each caller's patience would never open the breaker.

A probe that never reports (a caller that lost its permit, a stream that nobody reads) would keep a
half-open breaker half-open for ever. So a probe has a lease: afterwards it counts as slow, or as good
if its first result had come in time, and whatever it reports later changes nothing.

    >>> breaker = Breaker("vector_db")
    >>> permit = breaker.acquire()
    >>> permit.succeed()
    >>> breaker.state.value
    'closed'

Numbers: 50 % over 10 s, slow-call ratio 80 %, 5 s open ±20 % doubling to 10 s, 3 probes (Resilience4j's
rules and Polly's times, shortened for a service whose users wait).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import pybreaker

from rag_service.errors import CircuitOpen
from rag_service.resilience.deadline import Clock
from rag_service.resilience.window import TimeWindow


class State(StrEnum):
    """A breaker's state, spelled as on spans and in `/v1/breakers`."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


#: Longer than any probe of a search or of a first token lives; the stuck ones are what it is for.
PROBE_LEASE_S = 10.0

_STATES = {
    pybreaker.STATE_CLOSED: State.CLOSED,
    pybreaker.STATE_OPEN: State.OPEN,
    pybreaker.STATE_HALF_OPEN: State.HALF_OPEN,
}


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When to open, for how long, and how to come back."""

    window_s: float = 10.0
    min_calls: int = 10
    failure_ratio: float = 0.5
    slow_call_s: float = 0.3
    slow_ratio: float = 0.8
    open_s: float = 5.0
    max_open_s: float = 10.0
    open_jitter_ratio: float = 0.2
    probes: int = 3
    probe_lease_s: float = PROBE_LEASE_S

    def __post_init__(self) -> None:
        if self.probe_lease_s < self.slow_call_s:
            raise ValueError(
                f"probe_lease_s {self.probe_lease_s:g} is below slow_call_s {self.slow_call_s:g}, "
                f"so a probe would be given up before it is slow; raise the lease"
            )


@dataclass(frozen=True, slots=True)
class StateChange:
    """One transition, as it is logged; `seq` counts a breaker's transitions from 1."""

    name: str
    previous: State
    new: State
    seq: int
    cause: str


class Verdict(StrEnum):
    """What a settled call said about its dependency; `rejected` is a call that was not made."""

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORED = "ignored"
    REJECTED = "rejected"


class Permit:
    """Leave to make one call. Settle it once; later settlements change nothing."""

    __slots__ = ("_breaker", "_frozen_s", "_generation", "_started", "verdict")

    def __init__(self, breaker: Breaker, generation: int, started: float) -> None:
        self._breaker = breaker
        self._generation = generation
        self._started = started
        self._frozen_s: float | None = None
        self.verdict: Verdict | None = None

    @property
    def took_s(self) -> float:
        return self._breaker.clock() - self._started if self._frozen_s is None else self._frozen_s

    def first_result(self) -> None:
        """Stop the clock that decides "slow": a stream is slow by its first token, never by its length."""
        if self._frozen_s is None:
            self._frozen_s = self.took_s

    def succeed(self) -> None:
        self._settle(Verdict.SUCCESS)

    def fail(self) -> None:
        self._settle(Verdict.FAILURE)

    def cancel(self) -> None:
        """The caller went away: neutral when young, a slow call when old."""
        if self.took_s >= self._breaker.policy.slow_call_s:
            self._settle(Verdict.SUCCESS)
        else:
            self.release()

    def release(self) -> None:
        """Give the permit back: this call said nothing about the dependency."""
        self._settle(Verdict.IGNORED)

    def expire(self) -> None:
        """The lease is over: judge by the first result, or count as slow when there is none."""
        self._settle(Verdict.SUCCESS)

    def _settle(self, verdict: Verdict) -> None:
        if self.verdict is None:
            self.verdict = verdict
            self._breaker._settle(self, self._generation, verdict, self.took_s)


class Breaker(pybreaker.CircuitBreakerListener):  # type: ignore[misc]
    """The guard in front of one dependency. Not thread-safe: it lives on one event loop."""

    def __init__(
        self,
        name: str,
        policy: BreakerPolicy | None = None,
        *,
        clock: Clock = time.monotonic,
        rng: random.Random | None = None,
        on_change: Callable[[StateChange], None] | None = None,
    ) -> None:
        self.name = name
        self.policy = policy or BreakerPolicy()
        self.clock = clock
        self._rng = rng or random.Random()
        self._on_change = on_change
        self._window = TimeWindow(self.policy.window_s, clock)
        self._generation = 0
        self._since = clock()
        self._reopens_at = 0.0
        self._trips_in_a_row = 0
        self._probes_out: dict[Permit, float] = {}
        self._probes_ok = 0
        self._cause = "manual"
        self.late_results = 0
        self.core = pybreaker.CircuitBreaker(name=name, throw_new_error_on_trip=False, listeners=[self])

    @property
    def state(self) -> State:
        return _STATES[self.core.current_state]

    @property
    def since_s(self) -> float:
        """For how long the present state has lasted."""
        return self.clock() - self._since

    def acquire(self) -> Permit:
        """A permit for one call, or CircuitOpen at once. Never waits: queued callers would stampede later."""
        if self.state is State.OPEN:
            left_s = self._reopens_at - self.clock()
            if left_s > 0.0:
                raise CircuitOpen(self.name, retry_after_s=left_s)
            self._move(self.core.half_open, "open_time_elapsed")
        if self.state is State.HALF_OPEN:
            self._expire_probes()
        if self.state is State.OPEN:
            raise CircuitOpen(self.name, retry_after_s=self._reopens_at - self.clock())
        permit = Permit(self, self._generation, self.clock())
        if self.state is State.HALF_OPEN:
            if len(self._probes_out) + self._probes_ok >= self.policy.probes:
                raise CircuitOpen(self.name, retry_after_s=self.policy.slow_call_s)
            self._probes_out[permit] = self.clock() + self.policy.probe_lease_s
        return permit

    @property
    def probes_in_flight(self) -> int:
        """Probes of the present half-open state that have not reported yet."""
        return len(self._probes_out)

    def state_change(self, cb: object, old_state: object, new_state: object) -> None:  # noqa: ARG002
        """pybreaker's listener: sees every transition, also those made by hand on `core`."""
        previous = _STATES[getattr(old_state, "name", pybreaker.STATE_CLOSED)]
        new = self.state_of(new_state)
        self._generation += 1
        self._since = self.clock()
        self._window.clear()
        self._probes_out.clear()
        self._probes_ok = 0
        if new is State.OPEN:
            self._reopens_at = self.clock() + self._open_s()
            self._trips_in_a_row += 1
        elif new is State.CLOSED:
            self._trips_in_a_row = 0
        if self._on_change:
            self._on_change(StateChange(self.name, previous, new, self._generation, self._cause))

    @staticmethod
    def state_of(pybreaker_state: object) -> State:
        return _STATES[getattr(pybreaker_state, "name", pybreaker.STATE_CLOSED)]

    def _open_s(self) -> float:
        base_s = min(self.policy.max_open_s, self.policy.open_s * 2.0**self._trips_in_a_row)
        jitter = self._rng.uniform(-self.policy.open_jitter_ratio, self.policy.open_jitter_ratio)
        return min(self.policy.max_open_s, base_s * (1.0 + jitter))

    def _move(self, transition: Callable[[], object], cause: str) -> None:
        self._cause = cause
        try:
            transition()
        finally:
            self._cause = "manual"

    def _expire_probes(self) -> None:
        now = self.clock()
        for permit in [permit for permit, ends in self._probes_out.items() if ends <= now]:
            permit.expire()

    def _settle(self, permit: Permit, generation: int, verdict: Verdict, took_s: float) -> None:
        if generation != self._generation:  # the result of an old state must not judge the new one
            self.late_results += 1
            return
        slow = took_s >= self.policy.slow_call_s
        if self.state is State.HALF_OPEN:
            del self._probes_out[permit]
            self._settle_probe(verdict, slow)
        elif verdict is not Verdict.IGNORED:
            self._window.record(failed=verdict is Verdict.FAILURE, slow=slow)
            self._trip_if_bad()

    def _settle_probe(self, verdict: Verdict, slow: bool) -> None:
        if verdict is Verdict.IGNORED:
            return
        if verdict is Verdict.FAILURE or slow:
            self._move(self.core.open, "probe_failed" if verdict is Verdict.FAILURE else "probe_slow")
            return
        self._probes_ok += 1
        if self._probes_ok >= self.policy.probes:
            self._move(self.core.close, "probes_succeeded")

    def _trip_if_bad(self) -> None:
        rates = self._window.rates()
        if rates.calls < self.policy.min_calls:
            return
        if rates.failure_ratio >= self.policy.failure_ratio:
            self._move(self.core.open, f"failure_ratio {rates.failures}/{rates.calls}")
        elif rates.slow_ratio >= self.policy.slow_ratio:
            self._move(self.core.open, f"slow_ratio {rates.slow}/{rates.calls}")
