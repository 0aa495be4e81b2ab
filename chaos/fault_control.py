"""Puts faults in and takes them out, so that none is ever in without a written way to undo it.

The order is the safety: declare the undo, inject, read back, and on the way out remove, verify that it is
gone. A fault that cannot be verified as gone stays outstanding in the journal, where the warden and
`ragquake rollback` find it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chaos.controls import Controls
from chaos.errors import EnvironmentFailure
from chaos.fault_proxy import FaultProxyError
from chaos.faults import Fault
from chaos.journal import Journal
from chaos.processes import ProcessFaultError


class FaultControl:
    """The declared faults of one run and which of them are in."""

    def __init__(self, faults: Mapping[str, Fault], at: Controls, journal: Journal) -> None:
        self._faults = faults
        self._at = at
        self._journal = journal
        self._active: list[str] = []

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

    def inject(self, name: str) -> None:
        """Put one fault in and verify, by reading back, that it is there."""
        fault = self._faults[name]
        try:
            fault.prepare(self._at, name)
            self._journal.append("undo.declared", fault=name, undo=dict(fault.undo(self._at, name)))
            fault.inject(self._at, name)
            read_back = dict(fault.read_back(self._at, name))
        except (FaultProxyError, ProcessFaultError) as error:
            raise EnvironmentFailure(f"fault {name} could not be injected: {error}") from error
        self._active.append(name)
        facts = {"on": fault.on, "kind": fault.kind, "parameters": dict(fault.parameters())}
        self._journal.append("fault.injected", fault=name, **facts)
        self._journal.append("fault.verified", fault=name, read_back=read_back)

    def remove(self, name: str) -> None:
        """Take one fault out and verify that it is gone."""
        fault = self._faults[name]
        try:
            hits = fault.hits(self._at, name)
            fault.remove(self._at, name)
            self._journal.append("fault.removed", fault=name, **({} if hits is None else {"hits": hits}))
            if not fault.is_gone(self._at, name):
                raise EnvironmentFailure(f"fault {name} was removed but what it did still shows")
        except (FaultProxyError, ProcessFaultError) as error:
            raise EnvironmentFailure(f"fault {name} could not be removed: {error}") from error
        self._active.remove(name)
        self._journal.append("fault.verified_gone", fault=name)
