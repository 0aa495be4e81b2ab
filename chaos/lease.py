"""The run's lease on the built-in proxy: what the run puts in goes when the runner falls silent.

The warden undoes at once, but it dies with the machine's session or with the same `kill`; a lease needs
nobody who lives. It is renewed from a thread of its own, because the run's loop stands still while a part
starts again (up to 16 s). A lease that had ended while the runner lives (the machine or the runner was
suspended) means that faults were out which the run believed to be in, so it is an error of the run.
Toxiproxy knows no leases: there the warden is all there is.
"""

from __future__ import annotations

import threading
from typing import Protocol

from chaos.builtin_proxy import Lease
from chaos.clock import Clock, SystemClock
from chaos.errors import EnvironmentFailure
from chaos.fault_proxy import FaultProxyError

TTL_S = 10.0
RENEW_EVERY_S = 2.0


class Holds(Protocol):
    """Where a lease is held: the built-in proxy's client."""

    def put_lease(self, name: str, ttl_s: float) -> Lease: ...

    def end_lease(self, name: str) -> None: ...


class RunLease:
    """One lease from `begin` to `end`; `require` says in between whether it is still the same."""

    def __init__(self, at: Holds, name: str, clock: Clock | None = None) -> None:
        self._at = at
        self.name = name
        self._clock = clock or SystemClock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._renewed_s = 0.0
        self._lost = ""

    def begin(self) -> None:
        """Take the lease and keep renewing it. Raises EnvironmentFailure when it cannot be had."""
        try:
            taken = self._at.put_lease(self.name, TTL_S)
        except FaultProxyError as error:
            raise EnvironmentFailure(f"the run's lease on the fault proxy cannot be had: {error}") from error
        if taken.renewed:
            raise EnvironmentFailure(
                f"somebody holds the lease {self.name!r} on the fault proxy already; is another run using it?"
            )
        self._renewed_s = self._clock.monotonic_s()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def renew(self) -> None:
        """Renew it once. A call that fails is tried again at the next turn, while the lease lasts."""
        try:
            lease = self._at.put_lease(self.name, TTL_S)
        except FaultProxyError as error:
            if self._clock.monotonic_s() - self._renewed_s >= TTL_S:
                self._lose(str(error))
            return
        if not lease.renewed:
            self._lose("it had ended when it was to be renewed")
        self._renewed_s = self._clock.monotonic_s()

    def require(self) -> None:
        """Raises EnvironmentFailure when the lease ended while the run went on."""
        silent_s = self._clock.monotonic_s() - self._renewed_s
        if not self._lost and silent_s >= TTL_S + RENEW_EVERY_S:
            self._lose(f"it was not renewed for {silent_s:.0f} s")
        if self._lost:
            raise EnvironmentFailure(
                f"the run's lease on the fault proxy ended while the run went on ({self._lost}), so the "
                f"proxy took the run's faults out; was ragquake or the machine suspended? Run it again"
            )

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
            self._at.end_lease(self.name)
        except FaultProxyError as error:
            if error.status == 404:
                self._lose("it had ended before the run ended it")

    def _keep(self) -> None:
        while not self._stop.wait(RENEW_EVERY_S):
            self.renew()

    def _lose(self, how: str) -> None:
        """The first loss is the one that is told."""
        self._lost = self._lost or how
