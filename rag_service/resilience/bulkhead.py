"""A bounded number of calls in flight per dependency, refused at once beyond that.

It rejects instead of queueing (Resilience4j: 25 places, wait 0): a queue in front of a slow dependency only
adds its length to everyone's latency. It stands outside the breaker, so that our own saturation
never counts as the dependency's failure. A place may be held as long as a token stream lasts. How many places
there are is a limiter's to say: a fixed number, or one learnt from the calls that were made here.

    >>> bulkhead = Bulkhead("llm", 1)
    >>> place = bulkhead.enter()
    >>> bulkhead.taken
    1
    >>> place.leave()
"""

from __future__ import annotations

from rag_service.errors import BulkheadFull
from rag_service.resilience.limiter import Fixed, Limiter, Sample


class Place:
    """One taken place; leaving twice frees it once."""

    __slots__ = ("_bulkhead", "_limiter", "in_flight")

    def __init__(self, bulkhead: Bulkhead) -> None:
        self._bulkhead: Bulkhead | None = bulkhead
        self._limiter = bulkhead.limiter
        #: Places taken as this one was, itself included.
        self.in_flight = bulkhead.taken

    @property
    def limit(self) -> int:
        return self._limiter.limit

    def report(self, latency_s: float, *, dropped: bool) -> None:
        """How an attempt made from this place went, for the limiter."""
        self._limiter.observe(Sample(latency_s, self.in_flight, dropped))

    def leave(self) -> None:
        bulkhead, self._bulkhead = self._bulkhead, None
        if bulkhead is not None:
            bulkhead._leave()


class Bulkhead:
    """As many places as the limiter allows; `enter` never waits, so cancellation cannot leak one."""

    def __init__(self, name: str, limit: int | Limiter) -> None:
        self.name = name
        self.limiter: Limiter = Fixed(limit) if isinstance(limit, int) else limit
        self._taken = 0

    @property
    def limit(self) -> int:
        return self.limiter.limit

    @property
    def taken(self) -> int:
        return self._taken

    @property
    def more_than_half_full(self) -> bool:
        return self._taken * 2 > self.limit

    def enter(self) -> Place:
        if self._taken >= self.limit:
            raise BulkheadFull(self.name, self.limit)
        self._taken += 1
        return Place(self)

    def _leave(self) -> None:
        self._taken -= 1
