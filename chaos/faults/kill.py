"""Kill: a part is gone, without a word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from chaos.faults.process_fault import ProcessFault, records
from chaos.processes import ProcessFaultError

if TYPE_CHECKING:
    from chaos.control.controls import Controls


class Kill(ProcessFault):
    """The part and its children are killed (SIGKILL) and stay away until the fault ends.

    A crash, or the kernel that ran out of memory. The port is closed: the proxy before a dependency takes
    connections and drops them, the service refuses them itself. Spans that a killed service had not handed
    over are lost, so a run with `on: service` can be short of evidence. When the fault ends, the part is
    started again as it was (command, port, environment) and the run waits until it is ready: some 2 s for the
    vector DB and the simulator, 16 s for the service.

        dead-vector-db: {on: vector_db, kind: kill}

    Looks like: connections that break at once; afterwards a part with empty caches and no connection.
    Bit when: four in five calls of the dependency, or journeys of the service, end in an error.
    Undone: the part is started again; where the whole stack is being stopped, it is left ended.
    """

    kind: Literal["kill"] = "kill"

    def inject(self, at: Controls, name: str) -> None:  # noqa: ARG002 - a signal has no name
        at.processes.end(self.on)

    def remove(self, at: Controls, name: str) -> Mapping[str, Any]:  # noqa: ARG002
        back = at.processes.start(self.on)
        return {"away_s": back.away_s, "pid_before": back.before.pid, "pid_after": _pid(back.after)}

    def read_back(self, at: Controls, name: str) -> Mapping[str, Any]:
        if left := at.processes.living(self.on):
            raise ProcessFaultError(f"{name}: {self.on} still runs (pid {left[0].pid})")
        gone = at.processes.absence(self.on)
        return {"pid": gone.before.pid if gone else None, "state": "ended"}

    def is_gone(self, at: Controls, name: str) -> bool:  # noqa: ARG002
        return bool(at.processes.living(self.on))

    def undo(self, at: Controls, name: str) -> Mapping[str, Any]:  # noqa: ARG002
        return {"do": "start_part", "part": self.on, "processes": records([at.processes.of(self.on)])}

    def expects(self) -> Mapping[str, Any] | None:
        return {"segment": self.segment, "errors": True}

    def parameters(self) -> dict[str, float | int | str]:
        return {}


def _pid(identity: Any) -> int | None:
    return identity.pid if identity else None
