"""Lets users in when the schedule says so, and not when the service has time for them.

Locust by itself releases users in one-second batches and never more than it was told to have, so it
slows down with the service. The conductor owns the arrivals instead: each user is a greenlet, started
at its own instant, and one too many is dropped and counted rather than queued.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gevent.greenlet import Greenlet
from gevent.pool import Pool

from journeys.clock import Clock, Sleep, sleep_until
from journeys.exchange import Closed
from journeys.outcome import Ending
from journeys.schedule import Arrival

CLOSING_S = 5.0
"""Closed users only have to write their last line; longer than this means that one is stuck."""


class Conductor:
    """Starts one greenlet for each arrival and sees them out at the end."""

    def __init__(
        self,
        *,
        live: Callable[[Arrival], None],
        drop: Callable[[Arrival], None],
        max_in_flight: int,
        clock: Clock,
        sleep: Sleep,
    ) -> None:
        self._live = live
        self._drop = drop
        self._max_in_flight = max_in_flight
        self._clock = clock
        self._sleep = sleep
        self._users = Pool()
        self._crashed = 0

    @property
    def in_flight(self) -> int:
        """How many users are there now."""
        return len(self._users)

    @property
    def crashed(self) -> int:
        """How many journeys ended by an error of their own: a fault of the harness, not of the target."""
        return self._crashed

    def conduct(self, arrivals: Sequence[Arrival], t0_s: float) -> None:
        """Let every arrival in at its time; users already there are never waited for."""
        for arrival in arrivals:
            sleep_until(t0_s + arrival.t_s, self._clock, self._sleep)
            if self.in_flight >= self._max_in_flight:
                self._drop(arrival)
            else:
                self._users.spawn(self._live, arrival).link_exception(self._count_crash)

    def drain(self, phases_end_s: float, drain_s: float) -> None:
        """Wait for the last phase to end, then at most `drain_s` for users in flight."""
        sleep_until(phases_end_s, self._clock, self._sleep)
        self._users.join(timeout=max(0.0, phases_end_s + drain_s - self._clock.now_s()))
        self.close(Ending.RUN_OVER)

    def close(self, ending: Ending) -> None:
        """End every journey now; each records its open attempt before it goes."""
        self._sleep(0)  # a greenlet that is killed before it first runs would leave no record
        self._users.kill(exception=Closed(ending), timeout=CLOSING_S)

    def _count_crash(self, _greenlet: Greenlet) -> None:
        self._crashed += 1
