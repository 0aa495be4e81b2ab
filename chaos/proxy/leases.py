"""Leases: what belongs to a holder who must keep saying that he is there; his silence undoes it.

A runner can die with every fault in. Its warden undoes them within an instant, but dies with the machine's
session, or with the same `kill`; a lease needs nobody: the proxy itself takes out what nobody renews.

A lease is a name and a time at which it ends. What hangs on it knows its name, and `Registry` undoes it in
one step of the event loop. Every call first ends what is overdue, so that a late timer, or a process that was
suspended, never lets a renewal save a lease that was over: the renewal makes a new one and says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from chaos.proxy.toxics.stage import Timer

LEAST_S = 1.0
MOST_S = 60.0
_log = logging.getLogger(__name__)


class Timers(Protocol):
    """The time, and calls at a time."""

    def now_s(self) -> float: ...

    def call_at(self, when_s: float, callback: Callable[[], None]) -> Timer: ...


class LoopTimers:
    """Those of the event loop that runs."""

    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def call_at(self, when_s: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_at(when_s, callback)


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as it is now; `renewed` says that it was there before this call."""

    name: str
    ttl_s: float
    ends_in_s: float
    renewed: bool


class LeaseMissingError(Exception):
    """Nobody holds a lease of that name, or not any more."""


class Leases:
    """Those that are held; `on_end` undoes what hangs on one, at once and whatever happens."""

    def __init__(self, on_end: Callable[[str], None], timers: Timers | None = None) -> None:
        self._on_end = on_end
        self._timers = timers or LoopTimers()
        self._held: dict[str, tuple[float, float]] = {}  # name: ttl, when it ends
        self._timer: Timer | None = None
        self._timer_s = 0.0
        self.ended = 0
        """How many ended by silence."""

    def put(self, name: str, ttl_s: float) -> Lease:
        """Make a lease, or renew it: it ends `ttl_s` from now."""
        self._end_overdue()
        renewed = name in self._held
        self._held[name] = (ttl_s, self._timers.now_s() + ttl_s)
        self._set_timer()
        return Lease(name, ttl_s, ttl_s, renewed)

    def require(self, name: str) -> None:
        """Raise `LeaseMissingError` unless somebody holds it."""
        self._end_overdue()
        if name not in self._held:
            raise LeaseMissingError(name)

    def states(self) -> list[Lease]:
        """All, by name."""
        self._end_overdue()
        now_s = self._timers.now_s()
        return [
            Lease(name, ttl_s, end_s - now_s, True) for name, (ttl_s, end_s) in sorted(self._held.items())
        ]

    def end(self, name: str) -> None:
        """End one now and undo what hangs on it."""
        self.require(name)
        del self._held[name]
        self._on_end(name)

    def close(self) -> None:
        """The server ends, and takes everything with it."""
        self._held.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_overdue(self) -> None:
        now_s = self._timers.now_s()
        overdue = [name for name, (_, end_s) in self._held.items() if end_s <= now_s]
        for name in overdue:
            del self._held[name]
        for name in overdue:
            self.ended += 1
            _log.warning("lease %s was not renewed in time: what hangs on it is undone", name)
            try:
                self._on_end(name)
            except Exception:  # the next lease is undone whatever this one met
                _log.exception("lease %s: its undoing failed", name)

    def _set_timer(self) -> None:
        """One timer, for the earliest end; when a renewal put that off, it looks and is set anew."""
        if not self._held:
            return
        earliest_s = min(end_s for _, end_s in self._held.values())
        if self._timer is not None and self._timer_s <= earliest_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_s = earliest_s
        self._timer = self._timers.call_at(earliest_s, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._end_overdue()
        self._set_timer()
