"""Puts faults in and takes them out, so that none is ever in without a written way to undo it.

The order is the safety: declare the undo, inject, read back, and on the way out remove, verify that it is
gone. A fault that cannot be verified as gone stays outstanding in the journal, where the warden and
`ragquake rollback` find it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chaos.controls import Controls
from chaos.errors import EnvironmentFailure
from chaos.fault_proxy import FaultProxyError
from chaos.faults import Fault
from chaos.journal import Journal
from chaos.processes import ProcessFaultError
from chaos.stack.errors import StackError
from chaos.undo import perform


class FaultControl:
    """The declared faults of one run and which of them are in."""

    def __init__(self, faults: Mapping[str, Fault], at: Controls, journal: Journal) -> None:
        self._faults = faults
        self._at = at
        self._journal = journal
        self._active: list[str] = []
        self._undos: dict[str, Mapping[str, Any]] = {}

    @property
    def active(self) -> tuple[str, ...]:
        """The faults that are in, the oldest first."""
        return tuple(self._active)

    def switch_to(self, wanted: Sequence[str]) -> None:
        """Leave exactly these faults in. One that is in already stays in, untouched.

        Raises EnvironmentFailure when a fault cannot be injected or removed.
        """
        for name in [name for name in self._active if name not in wanted]:
            self.remove(name)
        for name in [name for name in wanted if name not in self._active]:
            self.inject(name)

    def check(self) -> None:
        """Refuse, before the load begins, the first fault that cannot be done to this stack."""
        for name, fault in self._faults.items():
            try:
                fault.check(self._at)
            except (FaultProxyError, ProcessFaultError) as error:
                raise EnvironmentFailure(f"fault {name} cannot be done here: {error}") from error

    def inject(self, name: str) -> None:
        """Put one fault in and verify, by reading back, that it is there."""
        fault = self._faults[name]
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
        facts = {"on": fault.on, "kind": fault.kind, "parameters": dict(fault.parameters())}
        self._journal.append("fault.injected", fault=name, **facts)
        self._journal.append("fault.verified", fault=name, read_back=read_back)

    def remove(self, name: str) -> None:
        """Take one fault out and verify that it is gone."""
        fault = self._faults[name]
        try:
            observed = fault.remove(self._at, name)
            facts = {"observed": dict(observed)} if observed else {}
            self._journal.append("fault.removed", fault=name, **facts)
            if not fault.is_gone(self._at, name):
                raise EnvironmentFailure(f"fault {name} was removed but what it did still shows")
        except (FaultProxyError, ProcessFaultError, StackError) as error:
            raise EnvironmentFailure(f"fault {name} could not be removed: {error}") from error
        self._active.remove(name)
        self._undos.pop(name, None)
        self._journal.append("fault.verified_gone", fault=name)

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
