"""How many answers may be under way, who waits a moment for a place, and who is turned away first.

Beyond the limit a refusal within milliseconds is worth more than a place in a long queue: the caller can go
elsewhere, and the admitted keep their latency. So the queue is bounded in time, not only in length: who waits
is refused when `max_wait_s` has passed, and whoever would have to wait longer than that (judged by how long
answers stayed lately) is refused at once. Its 30 ms leave a refusal well below the 50 ms that it may take.

Less critical work meets a lower limit, so that it goes first; sheddable work never waits, and a critical
request takes the place of a waiting normal one when the queue is full. Before any of that answers become
shorter, so that places come free sooner: above `brief_above` of the limit, or of the model's places where
those are fewer, because behind them only extracts are left. An answer counts until its stream has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from dataclasses import dataclass

from rag_service.api.schema import Criticality
from rag_service.errors import Overloaded
from rag_service.resilience.deadline import Clock
from rag_service.resilience.limiter import Limiter, Sample

#: The share of the limit that each class may fill.
SHARES: dict[Criticality, float] = {"critical": 1.0, "normal": 0.9, "sheddable": 0.5}
#: The classes that may wait, first come first.
_WAITING: tuple[Criticality, ...] = ("critical", "normal")
#: `Retry-After` is drawn from this range around its setting, or all who were refused return together.
_JITTER = (0.5, 2.5)
#: The weight of the newest answer's stay in their average.
_NEWEST = 0.2


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """When to wait, to shorten, and what to tell those who are turned away."""

    max_wait_s: float = 0.03
    brief_above: float = 0.75
    retry_after_s: float = 1.0
    #: A caller who gave up sooner was impatient; it says nothing about how much can be borne.
    slow_s: float = 1.5


class Ticket:
    """One admitted answer; giving it back twice counts once."""

    __slots__ = ("_admission", "admitted_at", "in_flight", "pressure")

    def __init__(self, admission: Admission, admitted_at: float, in_flight: int, *, pressure: bool) -> None:
        self._admission: Admission | None = admission
        self.admitted_at = admitted_at
        self.in_flight = in_flight
        #: There was little room left as it was admitted: answer briefly.
        self.pressure = pressure

    def first_token(self, *, dropped: bool = False) -> None:
        """Tell the limiter how long the first token took, or that the model gave none."""
        if self._admission is not None:
            self._admission.observe(self, dropped=dropped)

    def timed_out(self) -> None:
        """Time ran out before the first token: a drop, unless the caller gave little of it."""
        if self._admission is not None and self._admission.is_slow(self):
            self._admission.observe(self, dropped=True)

    def give_back(self) -> None:
        admission, self._admission = self._admission, None
        if admission is not None:
            admission.leave(self)


class _Waiter:
    """A caller in the queue."""

    __slots__ = ("criticality", "place")

    def __init__(self, criticality: Criticality, place: asyncio.Future[Ticket]) -> None:
        self.criticality = criticality
        self.place = place


class Admission:
    """Counts answers under way; with `limiter` None (resilience off) it only counts."""

    def __init__(
        self,
        limiter: Limiter | None,
        policy: AdmissionPolicy,
        *,
        clock: Clock,
        rng: random.Random,
        model_limit: Limiter | None = None,
    ) -> None:
        self._limiter = limiter
        self._model_limit = model_limit
        self._policy = policy
        self._clock = clock
        self._rng = rng
        self._queues: dict[Criticality, deque[_Waiter]] = {name: deque() for name in _WAITING}
        self._stay_s = 0.0
        self.in_flight = 0

    @property
    def limit(self) -> int | None:
        return self._limiter.limit if self._limiter is not None else None

    @property
    def queued(self) -> int:
        return sum(map(len, self._queues.values()))

    def admit_now(self, criticality: Criticality) -> Ticket | None:
        """A ticket, or None where waiting for one makes sense. Raises Overloaded where it does not."""
        if self._has_place(criticality) and not self._ahead_of(criticality):
            return self._ticket()
        if criticality not in self._queues:
            raise self._overloaded(criticality)
        if self._expected_wait_s(criticality) >= self._policy.max_wait_s:  # 0: nobody waits
            raise self._overloaded(criticality)
        if self.queued >= (self.limit or 0) and not self._shed_below(criticality):
            raise self._overloaded(criticality)
        return None

    async def wait(self, criticality: Criticality) -> Ticket:
        """A ticket within the queue's time, or Overloaded. Who hangs up meanwhile leaves the queue.

        Looks again first: since `admit_now` a place may have come free, or others may have come to wait.
        """
        if (ticket := self.admit_now(criticality)) is not None:
            return ticket
        loop = asyncio.get_running_loop()
        waiter = _Waiter(criticality, loop.create_future())
        self._queues[criticality].append(waiter)
        expiry = loop.call_later(self._policy.max_wait_s, self._refuse, waiter)
        try:
            return await waiter.place
        except asyncio.CancelledError:
            if waiter.place.cancelled():
                with contextlib.suppress(ValueError):  # passed over already, as its turn came
                    self._queues[criticality].remove(waiter)
            elif waiter.place.exception() is None:
                waiter.place.result().give_back()  # granted in the moment of the hang-up
            raise
        finally:
            expiry.cancel()

    async def admit(self, criticality: Criticality) -> Ticket:
        """A ticket at once or within the queue's time. Raises Overloaded."""
        return self.admit_now(criticality) or await self.wait(criticality)

    def leave(self, ticket: Ticket) -> None:
        """An answer has ended."""
        self.in_flight -= 1
        stay_s = self._clock() - ticket.admitted_at
        self._stay_s += _NEWEST * (stay_s - self._stay_s) if self._stay_s else stay_s
        self._grant()

    def is_slow(self, ticket: Ticket) -> bool:
        """So long ago admitted that a first token should have come."""
        return self._clock() - ticket.admitted_at >= self._policy.slow_s

    def observe(self, ticket: Ticket, *, dropped: bool) -> None:
        """Let the limiter learn from one answer; a limit that rose lets somebody in."""
        if self._limiter is not None:
            latency_s = self._clock() - ticket.admitted_at
            self._limiter.observe(Sample(latency_s, ticket.in_flight, dropped))
            self._grant()

    def _allowed(self, criticality: Criticality) -> float:
        if self._limiter is None:
            return float("inf")
        return max(1, int(self._limiter.limit * SHARES[criticality]))

    def _has_place(self, criticality: Criticality) -> bool:
        return self.in_flight < self._allowed(criticality)

    def _ahead_of(self, criticality: Criticality) -> int:
        """How many would be let in before a newcomer."""
        ahead = 0
        for name, queue in self._queues.items():
            ahead += len(queue)
            if name == criticality:
                break
        return ahead

    def _expected_wait_s(self, criticality: Criticality) -> float:
        """Until as many places have come free as are needed, at the rate of Little's law; 0 at first."""
        needed = self._ahead_of(criticality) + 1 + max(0.0, self.in_flight - self._allowed(criticality))
        return needed * self._stay_s / max(1, self.in_flight)

    def _shed_below(self, criticality: Criticality) -> bool:
        """Refuse the newest waiter of a lesser class, if there is one."""
        for name in reversed(_WAITING):
            if name == criticality:
                break
            for waiter in reversed(self._queues[name]):
                if not waiter.place.done():
                    self._refuse(waiter)
                    return True
        return False

    def _refuse(self, waiter: _Waiter) -> None:
        if not waiter.place.done():
            self._queues[waiter.criticality].remove(waiter)
            waiter.place.set_exception(self._overloaded(waiter.criticality))

    def _grant(self) -> None:
        """Let in whoever waits and may, the most critical first."""
        for criticality, queue in self._queues.items():
            while queue and self._has_place(criticality):
                waiter = queue.popleft()
                if not waiter.place.done():
                    waiter.place.set_result(self._ticket())

    def _ticket(self) -> Ticket:
        self.in_flight += 1
        return Ticket(self, self._clock(), self.in_flight, pressure=self._under_pressure())

    def _under_pressure(self) -> bool:
        if self._limiter is None:
            return False
        most = self._limiter.limit
        if self._model_limit is not None:
            most = min(most, self._model_limit.limit)
        return self.in_flight > max(1.0, most * self._policy.brief_above)  # alone it is never crowded

    def _overloaded(self, criticality: Criticality) -> Overloaded:
        message = (
            f"{self.in_flight} answers are under way and {self.queued} wait; "
            f"{criticality} requests may fill {self._allowed(criticality)} of {self.limit}"
        )
        retry_after_s = self._policy.retry_after_s * self._rng.uniform(*_JITTER)
        return Overloaded(message, retry_after_s=retry_after_s)
