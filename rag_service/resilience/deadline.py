"""How long a caller will still wait, carried through every call of one request.

A timeout that starts anew in each layer lets work go on long after its caller has left. One deadline is
fixed at the door (header `X-Request-Deadline-Ms`, or the default) and every attempt takes the smaller of
its own limit and what is left. The clock is passed in, so that tests decide what time it is.

    >>> deadline = Deadline.after(1.0, clock=lambda: 0.0)
    >>> deadline.limit(2.0, doing="the search", reserve_s=0.25)
    Limit(limit_s=0.75, by_deadline=True)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from rag_service.errors import DeadlineExceeded

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Limit:
    """The time one attempt may take, and whether the caller's deadline (not the attempt's own cap) set it."""

    limit_s: float
    by_deadline: bool


@dataclass(frozen=True, slots=True)
class Deadline:
    """A fixed moment on a monotonic clock."""

    expires_at: float
    clock: Clock = time.monotonic

    @classmethod
    def after(cls, patience_s: float, clock: Clock = time.monotonic) -> Deadline:
        return cls(clock() + patience_s, clock)

    @classmethod
    def never(cls, clock: Clock = time.monotonic) -> Deadline:
        return cls(math.inf, clock)

    def remaining_s(self) -> float:
        return max(0.0, self.expires_at - self.clock())

    def share(self, reserve_s: float) -> float:
        """What to keep of `reserve_s` for those who come after: no more than half of what is left."""
        return min(reserve_s, self.remaining_s() / 2.0)

    def limit(self, cap_s: float, *, doing: str, reserve_s: float = 0.0) -> Limit:
        """The smaller of `cap_s` and what is left after `reserve_s`, which stays back for a fallback.

        Raises DeadlineExceeded when nothing is left, so that no attempt starts that cannot end in time.
        """
        left_s = self.expires_at - self.clock() - reserve_s
        if left_s <= 0.0:
            raise DeadlineExceeded(doing)
        return Limit(left_s, True) if left_s < cap_s else Limit(cap_s, False)


_current: ContextVar[Deadline | None] = ContextVar("rag_deadline", default=None)


def set_deadline(deadline: Deadline) -> None:
    """Make `deadline` the one of the running request; tasks started from here inherit it."""
    _current.set(deadline)


def current_deadline() -> Deadline:
    """The running request's deadline; outside of a request there is none to miss."""
    return _current.get() or Deadline.never()
