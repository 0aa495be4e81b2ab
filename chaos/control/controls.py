"""The door through which every fault acts: bytes, requests, processes and the simulator, each behind a face.

A fault takes what it needs from here and nothing else, so a test hands it a stand-in for one of the three,
and a stack says in one place what can be done to it: a proxy of somebody else has no faults on requests, a
container no process that a signal could reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chaos.control.builtin_proxy import BuiltinProxy, Lease
from chaos.control.fault_proxy import FaultProxyError
from chaos.control.simulator import SimulatorFaults
from chaos.control.toxiproxy import Toxiproxy
from chaos.processes import Processes
from chaos.safety.lease import Holds
from chaos.stack.description import DependencyRecord
from chaos.stack.local import LocalStack
from chaos.stack.opening import Stack


@dataclass(frozen=True, slots=True)
class Door:
    """Where faults on one dependency go in: a proxy by its server and name, and who reads its requests."""

    proxy: Toxiproxy
    name: str
    requests: BuiltinProxy | None = None


@dataclass(frozen=True, slots=True)
class Controls:
    """Where the faults of one run can act.

    `requests` is the built-in proxy's own calls, or nothing where bytes alone can be touched; `simulator` is
    nothing where another model server answers, or where it is out of reach (in a container). `doors` are
    those of a target whose dependencies each have a proxy of their own, or none; else one server has all.
    """

    proxy: Toxiproxy | None
    requests: BuiltinProxy | None = None
    processes: Processes = field(default_factory=Processes)
    simulator: SimulatorFaults | None = None
    doors: Mapping[str, Door] | None = None

    def door(self, dependency: str) -> Door:
        """Where faults on a dependency go in. Raises FaultProxyError where there is no such place."""
        if self.doors is not None and dependency in self.doors:
            return self.doors[dependency]
        proxy = self.proxy or self.requests
        if self.doors is not None or proxy is None:
            raise FaultProxyError(
                f"a fault on {dependency!r}",
                "no proxy stands before it",
                advice="name one in the target file, or run it with --stack local",
            )
        return Door(proxy, dependency, self.requests)

    @property
    def builtin(self) -> Holds | None:
        """The built-in proxies, wherever they stand: who has leases and distributions of delays."""
        if self.doors is None:
            return self.requests or (self.proxy if isinstance(self.proxy, BuiltinProxy) else None)
        found = {one.api: one for door in self.doors.values() if isinstance(one := door.proxy, BuiltinProxy)}
        return Several(tuple(found.values())) if found else None


@dataclass(frozen=True, slots=True)
class Several:
    """One lease, held on several proxies: it is renewed when it is on each of them."""

    proxies: tuple[BuiltinProxy, ...]

    def put_lease(self, name: str, ttl_s: float) -> Lease:
        taken = [proxy.put_lease(name, ttl_s) for proxy in self.proxies]
        return next((lease for lease in taken if not lease.renewed), taken[0])

    def end_lease(self, name: str) -> None:
        """End it on each, also where one refuses; the first refusal is raised."""
        refusals: list[FaultProxyError] = []
        for proxy in self.proxies:
            try:
                proxy.end_lease(name)
            except FaultProxyError as error:
                refusals.append(error)
        if refusals:
            raise refusals[0]


def controls_of(stack: Stack, lease: str = "") -> Controls:
    """What can be done to a stack that is up; on the built-in proxy it is done under `lease`."""
    description = stack.description
    if description.kind == "attached":
        doors = {name: _door(one, lease) for name, one in description.dependencies.items()}
        return Controls(
            None, processes=Processes(why="this run has started no part of its target"), doors=doors
        )
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


def _door(dependency: DependencyRecord, lease: str) -> Door:
    server = dependency.server
    if server is None:
        raise FaultProxyError(
            f"the proxy {dependency.proxy!r}", "stack.json does not say which server has it"
        )
    if server.kind == "toxiproxy":
        return Door(Toxiproxy(server.api), dependency.proxy)
    builtin = BuiltinProxy(server.api, lease=lease)
    return Door(builtin, dependency.proxy, builtin if dependency.reads_requests else None)
