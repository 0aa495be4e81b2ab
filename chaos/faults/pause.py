"""Pause: a part stands still and keeps its connections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from chaos.faults.process_fault import ProcessFault, records
from chaos.processes import ProcessFaultError, signals

if TYPE_CHECKING:
    from chaos.control.controls import Controls


class Pause(ProcessFault):
    """The part stands still (SIGSTOP, with its children) and goes on where it was when the fault ends.

    A long garbage collection, a stalled disk, a machine that was suspended. The kernel goes on taking
    connections for it, so callers see no refusal; look for calls without a deadline, and for a burst of work
    nobody waits for any more once it goes on.

        frozen-llm: {on: llm, kind: pause}

    Looks like: connections that open and stay silent, streams that stop half-way, then all of it at once.
    Bit when: four in five calls (journeys, for the service) end in an error or last until the fault is out.
    Undone: SIGCONT to the same processes, told by pid and creation time.
    """

    kind: Literal["pause"] = "pause"

    def inject(self, at: Controls, name: str) -> None:  # noqa: ARG002 - a signal has no name
        at.processes.freeze(self.on)

    def remove(self, at: Controls, name: str) -> Mapping[str, Any]:  # noqa: ARG002
        members = at.processes.living(self.on)
        stood = signals.thaw(members)
        return {"members": len(members), "standing": stood, "bit": bool(members) and stood == len(members)}

    def read_back(self, at: Controls, name: str) -> Mapping[str, Any]:
        members = at.processes.members(self.on)
        standing = signals.frozen(members)
        if len(standing) < len(members):
            raise ProcessFaultError(f"{name}: only {len(standing)} of {len(members)} processes stand still")
        return {"pids": [one.pid for one in standing], "state": "stopped"}

    def is_gone(self, at: Controls, name: str) -> bool:  # noqa: ARG002
        return not signals.frozen(at.processes.living(self.on))

    def undo(self, at: Controls, name: str) -> Mapping[str, Any]:  # noqa: ARG002
        return {"do": "resume", "part": self.on, "processes": records(at.processes.members(self.on))}

    def expects(self) -> Mapping[str, Any] | None:
        return {"segment": self.segment, "held": True}

    def parameters(self) -> dict[str, float | int | str]:
        return {}
