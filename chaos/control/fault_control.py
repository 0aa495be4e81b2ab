"""Puts faults in and takes them out, so that none is ever in without a written way to undo it.

The order is the safety: declare the undo, inject, read back, and on the way out remove, verify that it is
gone. Going in is tried once, since a fault that is in by half a chance proves nothing; coming out is tried
again, since a proxy that hangs under load answers the second time. A fault that cannot be verified as gone is
left outstanding in the journal, where the warden and `ragquake rollback` find it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chaos.clock import Clock, SystemClock
from chaos.control.controls import Controls
from chaos.control.fault_proxy import FaultProxyError, ProxyMissingError
from chaos.errors import EnvironmentFailure
from chaos.faults import Fault
from chaos.processes import ProcessFaultError
from chaos.run.journal import Journal
from chaos.safety.undo import perform
from chaos.stack.errors import StackError

REMOVE_TRIES = 3
GONE_LOOKS = 10
AGAIN_AFTER_S = 0.2


class FaultControl:
    """The declared faults of one run and which of them are in."""

    def __init__(
        self, faults: Mapping[str, Fault], at: Controls, journal: Journal, clock: Clock | None = None
    ) -> None:
        self._faults = faults
        self._at = at
        self._journal = journal
        self._active: list[str] = []
        self._undos: dict[str, Mapping[str, Any]] = {}
        self._clock = clock or SystemClock()
        self._since_s: dict[str, float] = {}  # of those that the phase has: when the first such phase began
        self._steps: dict[str, int] = {}

    @property
    def active(self) -> tuple[str, ...]:
        """The faults that are in, the oldest first."""
        return tuple(self._active)

    def switch_to(self, wanted: Sequence[str]) -> None:
        """Leave exactly these faults in. One that is in already stays in, untouched, and its clock goes on.

        What went in last comes out first: a paused process could not be asked to forget a fault of its own.
        Raises EnvironmentFailure when a fault cannot be injected or removed.
        """
        for name in [name for name in reversed(self._active) if name not in wanted]:
            self.remove(name)
        self._since_s = {name: since_s for name, since_s in self._since_s.items() if name in wanted}
        now_s = self._clock.monotonic_s()
        for name in [name for name in wanted if name not in self._since_s]:
            self._since_s[name] = now_s
            self.inject(name)

    def tick(self) -> None:
        """Do what the schedules of the phase's faults want now: put in, take out, move a ramp on.

        Raises EnvironmentFailure when that cannot be done.
        """
        for name, since_s in self._since_s.items():
            over_time = self._faults[name].over_time
            if over_time is None:
                continue
            elapsed_s = self._clock.monotonic_s() - since_s
            is_in = name in self._active
            if over_time.is_in(elapsed_s) != is_in:
                self.remove(name) if is_in else self.inject(name)
            elif is_in and over_time.step_at(elapsed_s) != self._steps[name]:
                self._change(name, over_time.step_at(elapsed_s))

    def check(self) -> None:
        """Refuse, before the load begins, the first fault that cannot be done to this stack."""
        for name, fault in self._faults.items():
            try:
                fault.check(self._at)
            except (FaultProxyError, ProcessFaultError) as error:
                raise EnvironmentFailure(f"fault {name} cannot be done here: {error}") from error

    def inject(self, name: str) -> None:
        """Put one fault in, as it is now on its ramp, and verify, by reading back, that it is there."""
        step = self._due_step(name)
        fault = self._faults[name].at_step(step)
        try:
            fault.check(self._at)
            fault.prepare(self._at, name)
            undo = dict(fault.undo(self._at, name))
            self._journal.append("undo.declared", fault=name, undo=undo)
            self._undos[name] = undo
            fault.inject(self._at, name)
            read_back = dict(fault.read_back(self._at, name))
        except (FaultProxyError, ProcessFaultError, StackError) as error:
            raise EnvironmentFailure(f"fault {name} could not be injected: {error}") from error
        self._active.append(name)
        self._steps[name] = step
        facts = {"on": fault.on, "kind": fault.kind, "parameters": dict(fault.parameters())}
        if self._faults[name].over_time is not None:
            facts["expects"] = dict(fault.expects() or {})
        self._journal.append("fault.injected", fault=name, **facts)
        self._journal.append("fault.verified", fault=name, read_back=read_back)

    def _change(self, name: str, step: int) -> None:
        """Move a fault that is in one step on; its undo stays what it was."""
        fault = self._faults[name].at_step(step)
        try:
            fault.change(self._at, name)
            read_back = dict(fault.read_back(self._at, name))
        except (FaultProxyError, ProcessFaultError, StackError) as error:
            raise EnvironmentFailure(f"fault {name} could not be changed: {error}") from error
        self._steps[name] = step
        facts = {"parameters": dict(fault.parameters()), "expects": dict(fault.expects() or {})}
        self._journal.append("fault.changed", fault=name, **facts, read_back=read_back)

    def _due_step(self, name: str) -> int:
        over_time, now_s = self._faults[name].over_time, self._clock.monotonic_s()
        return 0 if over_time is None else over_time.step_at(now_s - self._since_s.get(name, now_s))

    def remove(self, name: str) -> None:
        """Take one fault out and verify that it is gone, both more than once when the proxy hangs."""
        began_s = self._clock.monotonic_s()
        fault = self._faults[name].at_step(self._steps.get(name, 0))
        try:
            observed = self._take_out(name, fault)
            facts = {"observed": dict(observed)} if observed else {}
            self._journal.append("fault.removed", fault=name, **facts)
            looks = self._look_until_gone(name, fault)
        except (FaultProxyError, ProcessFaultError, StackError) as error:
            raise EnvironmentFailure(f"fault {name} could not be removed: {error}") from error
        self._active.remove(name)
        self._undos.pop(name, None)
        took_s = round(self._clock.monotonic_s() - began_s, 3)
        self._journal.append("fault.verified_gone", fault=name, looks=looks, took_s=took_s)

    def _take_out(self, name: str, fault: Fault) -> Mapping[str, Any] | None:
        """A call that failed may have been carried out: what is missing the next time was removed by it.

        What is missing the first time was taken out by somebody else, and was not in for as long as it seems.
        """
        for tries_left in range(REMOVE_TRIES - 1, -1, -1):
            try:
                return fault.remove(self._at, name)
            except ProxyMissingError:
                if tries_left == REMOVE_TRIES - 1:
                    raise
                return None
            except FaultProxyError:
                if not tries_left:
                    raise
                self._clock.sleep(AGAIN_AFTER_S)
        return None

    def _look_until_gone(self, name: str, fault: Fault) -> int:
        """How many looks it took until nothing of it was left. Raises EnvironmentFailure when it stays."""
        for look in range(1, GONE_LOOKS + 1):
            try:
                if fault.is_gone(self._at, name):
                    return look
            except FaultProxyError:
                if look == GONE_LOOKS:
                    raise
            self._clock.sleep(AGAIN_AFTER_S)
        raise EnvironmentFailure(
            f"fault {name} was removed but what it did still shows, "
            f"{GONE_LOOKS} looks and {GONE_LOOKS * AGAIN_AFTER_S:g} s later"
        )

    def withdraw(self) -> None:
        """Take out what may be in by its record alone, the newest first: the stack is about to be stopped.

        Nothing is waited for, since no part needs to come back; what cannot be undone stays outstanding.
        """
        for name, undo in reversed(list(self._undos.items())):
            try:
                perform(undo)
            except (FaultProxyError, ProcessFaultError):
                continue
            self._undos.pop(name)
            self._active = [active for active in self._active if active != name]
            self._journal.append("fault.removed", fault=name)
            self._journal.append("fault.verified_gone", fault=name)
