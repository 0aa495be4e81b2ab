"""Restart: a part ends and starts again at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from chaos.faults.process_fault import ProcessFault, records
from chaos.faults.quantities import DurationOrNone
from chaos.processes import Absence, ProcessFaultError

if TYPE_CHECKING:
    from chaos.control.controls import Controls


class Restart(ProcessFault):
    """The part is ended and started again at once, as a deployment or a supervisor does it.

    It is asked to end (SIGTERM) and killed after `grace`. The run goes on to its next step when it is ready
    again, and the journal has how long it was away. Look for pools that hold connections to the old process,
    for caches that are cold, and for clients that all come back in the same instant.

        redeployed-llm: {on: llm, kind: restart, grace: 2s}

    Looks like: a short stretch of refused connections, then a part with empty caches and no connection.
    Bit when: another process answers under the part's address; the journal has both pids and the time away.
    Undone: by itself; where the run dies in between, the whole stack is stopped.
    """

    kind: Literal["restart"] = "restart"
    grace: DurationOrNone = Field(2.0, description="from SIGTERM to SIGKILL; 0s to 10 min")

    def inject(self, at: Controls, name: str) -> None:  # noqa: ARG002 - a process has no name
        at.processes.end(self.on, self.grace)
        at.processes.start(self.on)

    def remove(self, at: Controls, name: str) -> Mapping[str, Any]:
        facts = _facts(at.processes.start(self.on), name)
        return {**facts, "bit": facts["pid_before"] != facts["pid_after"]}

    def read_back(self, at: Controls, name: str) -> Mapping[str, Any]:
        absence = at.processes.absence(self.on)
        if absence is None:
            raise ProcessFaultError(f"{name}: {self.on} was not restarted")
        return _facts(absence, name)

    def is_gone(self, at: Controls, name: str) -> bool:  # noqa: ARG002
        return bool(at.processes.living(self.on))

    def undo(self, at: Controls, name: str) -> Mapping[str, Any]:  # noqa: ARG002
        return {"do": "start_part", "part": self.on, "processes": records([at.processes.of(self.on)])}

    def parameters(self) -> dict[str, float | int | str]:
        return {"grace_s": self.grace}


def _facts(absence: Absence, name: str) -> dict[str, Any]:
    if absence.after is None:
        raise ProcessFaultError(f"{name}: {absence.part} has not come back since it was ended")
    return {
        "pid_before": absence.before.pid,
        "pid_after": absence.after.pid,
        "ended_at_s": round(absence.from_s, 3),
        "away_s": absence.away_s,
    }
