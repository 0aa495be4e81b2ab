"""How many answers may be under way, and who is turned away first.

Beyond the limit a refusal within milliseconds is worth more than a place in a queue: the caller can go
elsewhere, and the admitted keep their latency. Less critical work meets a lower limit, so that it goes
first. An answer counts until its stream has ended.
"""

from __future__ import annotations

from rag_service.api.schema import Criticality
from rag_service.errors import Overloaded

#: The share of the limit that each class may fill.
SHARES: dict[Criticality, float] = {"critical": 1.0, "normal": 0.9, "sheddable": 0.5}


class Ticket:
    """One admitted answer; giving it back twice counts once."""

    __slots__ = ("_admission",)

    def __init__(self, admission: Admission) -> None:
        self._admission: Admission | None = admission

    def give_back(self) -> None:
        admission, self._admission = self._admission, None
        if admission is not None:
            admission.in_flight -= 1


class Admission:
    """Counts answers under way; with `limit` None (resilience off) it only counts."""

    def __init__(self, limit: int | None, *, retry_after_s: float) -> None:
        self._limit = limit
        self._retry_after_s = retry_after_s
        self.in_flight = 0

    def admit(self, criticality: Criticality) -> Ticket:
        """A ticket, or Overloaded at once."""
        if self._limit is not None:
            allowed = max(1, int(self._limit * SHARES[criticality]))
            if self.in_flight >= allowed:
                message = f"{self.in_flight} answers are under way, {criticality} requests may fill {allowed}"
                raise Overloaded(message, retry_after_s=self._retry_after_s)
        self.in_flight += 1
        return Ticket(self)
