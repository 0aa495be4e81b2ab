"""A bounded number of calls in flight per dependency, refused at once beyond that.

It rejects instead of queueing (Resilience4j: 25 places, wait 0): a queue in front of a slow dependency only
adds its length to everyone's latency. It stands outside the breaker, so that our own saturation
never counts as the dependency's failure. A place may be held as long as a token stream lasts.
"""

from __future__ import annotations

from rag_service.errors import BulkheadFull


class Place:
    """One taken place; leaving twice frees it once."""

    __slots__ = ("_bulkhead",)

    def __init__(self, bulkhead: Bulkhead) -> None:
        self._bulkhead: Bulkhead | None = bulkhead

    def leave(self) -> None:
        bulkhead, self._bulkhead = self._bulkhead, None
        if bulkhead is not None:
            bulkhead._leave()


class Bulkhead:
    """`limit` places; `enter` never waits, so cancellation cannot leak one between two awaits."""

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self._taken = 0

    @property
    def taken(self) -> int:
        return self._taken

    def enter(self) -> Place:
        if self._taken >= self.limit:
            raise BulkheadFull(self.name, self.limit)
        self._taken += 1
        return Place(self)

    def _leave(self) -> None:
        self._taken -= 1
