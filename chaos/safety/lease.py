"""The run's lease on the built-in proxy: what the run puts in goes when the runner falls silent.

The warden undoes at once, but it dies with the machine's session or with the same `kill`; a lease needs
nobody who lives. It is renewed from a thread of its own, because the run's loop stands still while a part
starts again (up to 16 s). A lease that had ended while the runner lives (the machine or the runner was
suspended) means that faults were out which the run believed to be in, so it is an error of the run.
Toxiproxy knows no leases: there the warden is all there is, and the thread only notices that the run stood
still, or that somebody set the clock by which phases, faults and spans are told.
"""

from __future__ import annotations

import threading
from typing import Protocol

from chaos.clock import Clock, SystemClock
from chaos.control.builtin_proxy import Lease
from chaos.control.fault_proxy import FaultProxyError
from chaos.errors import EnvironmentFailure

TTL_S = 10.0
RENEW_EVERY_S = 2.0
CLOCK_STEP_S = 1.0
"""A leap second. What NTP corrects bit by bit moves both clocks alike."""
AGAIN = "was ragquake or the machine suspended? Run it again"


class Holds(Protocol):
    """Where a lease is held: the built-in proxy's client."""

    def put_lease(self, name: str, ttl_s: float) -> Lease: ...

    def end_lease(self, name: str) -> None: ...


class RunLease:
    """One lease from `begin` to `end`; `require` says in between whether the run held on all the while.

    `at` is nothing where the fault proxy has no leases.
    """

    def __init__(self, at: Holds | None, name: str, clock: Clock | None = None) -> None:
        self._at = at
        self.name = name
        self._clock = clock or SystemClock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._renewed_s = 0.0
        self._offset_s = 0.0  # of Unix time to time that never jumps
        self._lost = ""

    @property
    def is_held(self) -> bool:
        """Whether there is a proxy to hold it."""
        return self._at is not None

    def begin(self) -> None:
        """Take the lease and keep renewing it. Raises EnvironmentFailure when it cannot be had."""
        try:
            taken = self._at.put_lease(self.name, TTL_S) if self._at is not None else None
        except FaultProxyError as error:
            raise EnvironmentFailure(f"the run's lease on the fault proxy cannot be had: {error}") from error
        if taken is not None and taken.renewed:
            raise EnvironmentFailure(
                f"somebody holds the lease {self.name!r} on the fault proxy already; is another run using it?"
            )
        self._renewed_s = self._clock.monotonic_s()
        self._offset_s = self._clock.unix_s() - self._renewed_s
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def renew(self) -> None:
        """Renew it once. A call that fails is tried again at the next turn, while the lease lasts."""
        silent_s = self._clock.monotonic_s() - self._renewed_s
        if self._at is None:
            if silent_s >= TTL_S:
                self._lose_still(silent_s)
            self._renewed_s = self._clock.monotonic_s()
            return
        try:
            lease = self._at.put_lease(self.name, TTL_S)
        except FaultProxyError as error:
            if self._clock.monotonic_s() - self._renewed_s >= TTL_S:
                self._lose_lease(str(error))
            return
        if not lease.renewed:
            self._lose_lease("it had ended when it was to be renewed")
        self._renewed_s = self._clock.monotonic_s()

    def require(self) -> None:
        """Raises EnvironmentFailure when the lease ended, or the run stood still, or the clock was set."""
        silent_s = self._clock.monotonic_s() - self._renewed_s
        if silent_s >= TTL_S + RENEW_EVERY_S:
            if self._at is None:
                self._lose_still(silent_s)
            else:
                self._lose_lease(f"it was not renewed for {silent_s:.0f} s")
        self._look_at_the_clock()
        if self._lost:
            raise EnvironmentFailure(self._lost)

    def end(self) -> None:
        """End it; what still hangs on it is undone. Raises EnvironmentFailure when it had ended before."""
        self.close()
        self.require()

    def close(self) -> None:
        """Stop renewing and end it if it can be; twice without harm, and silence ends it in any case."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        self._thread = None
        try:
            if self._at is not None:
                self._at.end_lease(self.name)
        except FaultProxyError as error:
            if error.status == 404:
                self._lose_lease("it had ended before the run ended it")

    def _keep(self) -> None:
        while not self._stop.wait(RENEW_EVERY_S):
            self.renew()

    def _look_at_the_clock(self) -> None:
        """Between two looks at the time that never jumps: the run may be put aside just there."""
        earliest_s = self._clock.monotonic_s() + self._offset_s
        unix_s = self._clock.unix_s()
        latest_s = self._clock.monotonic_s() + self._offset_s
        step_s = min(unix_s - earliest_s, 0.0) + max(unix_s - latest_s, 0.0)
        if abs(step_s) >= CLOCK_STEP_S:
            self._lose(
                f"the machine's clock moved by {step_s:+.1f} s against the time that passed, so nobody can "
                f"tell what happened when; did somebody set it, or was the machine asleep? Run it again"
            )

    def _lose_lease(self, how: str) -> None:
        self._lose(
            f"the run's lease on the fault proxy ended while the run went on ({how}), so the proxy took the "
            f"run's faults out; {AGAIN}"
        )

    def _lose_still(self, silent_s: float) -> None:
        self._lose(f"the run stood still for {silent_s:.0f} s and watched over nothing meanwhile; {AGAIN}")

    def _lose(self, what: str) -> None:
        """The first loss is the one that is told."""
        self._lost = self._lost or what
