"""The door through which every fault acts: bytes, requests, processes and the simulator, each behind a face.

A fault takes what it needs from here and nothing else, so a test hands it a stand-in for one of the three,
and a stack says in one place what can be done to it: a proxy of somebody else has no faults on requests, a
container no process that a signal could reach.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chaos.control.builtin_proxy import BuiltinProxy
from chaos.control.simulator import SimulatorFaults
from chaos.control.toxiproxy import Toxiproxy
from chaos.processes import Processes
from chaos.stack import Stack
from chaos.stack.local import LocalStack


@dataclass(frozen=True, slots=True)
class Controls:
    """Where the faults of one run can act.

    `requests` is the built-in proxy's own calls, or nothing where bytes alone can be touched; `simulator` is
    nothing where another model server answers, or where it is out of reach (in a container).
    """

    proxy: Toxiproxy
    requests: BuiltinProxy | None = None
    processes: Processes = field(default_factory=Processes)
    simulator: SimulatorFaults | None = None

    @property
    def builtin(self) -> BuiltinProxy | None:
        """The built-in proxy, wherever it stands: who has leases and distributions of delays."""
        return self.requests or (self.proxy if isinstance(self.proxy, BuiltinProxy) else None)


def controls_of(stack: Stack, lease: str = "") -> Controls:
    """What can be done to a stack that is up; on the built-in proxy it is done under `lease`."""
    description = stack.description
    own = stack if isinstance(stack, LocalStack) else None
    server, behind = description.model_server, description.dependencies.get("llm")
    simulated = own is not None and server is not None and server.kind == "simulator"
    builtin = description.proxy is not None and description.proxy.kind == "builtin"
    reading = description.requests_proxy
    return Controls(
        BuiltinProxy(stack.proxy_api, lease=lease) if builtin else Toxiproxy(stack.proxy_api),
        requests=BuiltinProxy(reading.api, lease=lease) if reading is not None else None,
        processes=Processes(own, why=f"the parts of a {description.kind} stack run in containers"),
        simulator=SimulatorFaults(behind.upstream) if simulated and behind is not None else None,
    )
