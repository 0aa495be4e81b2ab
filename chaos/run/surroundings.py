"""Where a run would act, before it starts: its parts, who starts them, and the addresses between them.

For a plan that people read before they let a run loose. Nothing is started, connected to or written: what
only a start decides (a port, a pid) is said to be decided then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chaos.faults import Fault
from chaos.stack.model_servers import LlmRequest
from chaos.stack.model_servers.elsewhere import address_of
from chaos.stack.proxy_choice import ProxyChoice, choose_proxy
from chaos.stack.target import AttachedTarget, ProxyThere

FREE = "127.0.0.1, a free port"
_PROJECT = "compose project ragquake"


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """A part of the stack: what it is, where it listens, and whether the run starts it, and so may end it."""

    name: str
    what: str
    address: str
    started: bool = True


@dataclass(frozen=True, slots=True)
class PlannedDoor:
    """The proxy before one dependency: which, where it is, and whether it can read requests."""

    proxy: str
    address: str
    is_builtin: bool


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The parts of a run by name, and which proxy stands before its dependencies."""

    kind: str
    parts: Mapping[str, PlannedPart]
    proxy: str
    proxy_is_builtin: bool
    simulated: bool
    remarks: tuple[str, ...] = ()
    doors: Mapping[str, PlannedDoor] = field(default_factory=dict)
    """The proxies of a target, each before one dependency; another stack has the one above for all."""

    def place_of(self, fault: Fault) -> tuple[str, tuple[str, ...]]:
        """Where a fault acts, in words, and the addresses or processes that it touches there."""
        part, door = self.parts[fault.on], self.door_of(fault.on)
        between = f"service → {door.proxy} ({door.address}) → {fault.on} ({part.address})"
        if fault.needs == "processes":
            whose = "which this run starts" if part.started else "which this run has not started"
            return f"the process of {fault.on} itself, {whose}", (f"{part.what} ({part.address})",)
        if fault.needs == "simulator" or (fault.needs == "answers" and self.simulated):
            return "answers, inside the simulated model server", (f"{part.what} ({part.address})",)
        if fault.needs == "bytes":
            return f"the bytes between the service and {fault.on}", (between,)
        reader = "" if door.is_builtin else f"the built-in proxy ({FREE}) → "
        return f"requests from the service to {fault.on}", (
            between.replace(f"→ {fault.on}", f"→ {reader}{fault.on}"),
        )

    def door_of(self, dependency: str) -> PlannedDoor:
        """The proxy before a dependency."""
        if dependency in self.doors:
            return self.doors[dependency]
        return PlannedDoor(self.proxy, self.parts["proxy"].address, self.proxy_is_builtin)


def surroundings(
    stack: str,
    llm: LlmRequest,
    state: Path,
    environment: Mapping[str, str],
    target: AttachedTarget | None = None,
) -> Surroundings:
    """Of a stack by its kind. Raises StackError for a model server or a proxy that is not to be had."""
    if target is not None:
        return _attached(target)
    if stack == "compose":
        return _compose(llm)
    choice = choose_proxy(environment, state)
    parts = (
        PlannedPart("service", "python -m rag_service", FREE),
        PlannedPart("vector_db", "python -m rag_service.vector_db", FREE),
        _model_server(llm, state),
        _proxy(choice),
        PlannedPart("journeys", "Locust, which drives the load", "asks the service only"),
    )
    remarks: tuple[str, ...] = ()
    if not (state / "index" / "manifest.json").exists():
        remarks = (f"{state / 'index'} holds no search index yet: the run first makes one (some minutes)",)
    return Surroundings(
        kind="local",
        parts={part.name: part for part in parts},
        proxy=_name(choice),
        proxy_is_builtin=choice.kind == "builtin",
        simulated=llm.llm == "simulator",
        remarks=remarks,
    )


def _attached(target: AttachedTarget) -> Surroundings:
    """Of a target that runs already: where its own proxies lead stands in them, and nobody asks them now."""
    address = target.service.removeprefix("http://")
    parts = [PlannedPart("service", f"runs already ({target.name})", address, started=False)]
    doors = {}
    for name, proxy in target.proxies.items():
        if isinstance(proxy, ProxyThere):
            leads = f"where proxy {proxy.name} leads"
            api = proxy.api.removeprefix("http://")
            doors[name] = PlannedDoor(f"proxy {proxy.name}, which is there", api, is_builtin=True)
        else:
            leads = proxy.upstream
            doors[name] = PlannedDoor(
                "the built-in proxy, put there by this run", proxy.listen, is_builtin=True
            )
        parts.append(PlannedPart(name, "runs already", leads, started=False))
    parts.append(PlannedPart("journeys", "Locust, which drives the load", "asks the service only"))
    if target.telemetry is None:
        remarks = ("the target file has no telemetry: without spans the run cannot pass, whatever happens",)
    else:
        remarks = (f"the service must send its OTLP/HTTP to {target.telemetry.url}",)
    return Surroundings("attached", {part.name: part for part in parts}, "none", False, False, remarks, doors)


def _model_server(llm: LlmRequest, state: Path) -> PlannedPart:
    if "://" in llm.llm:
        what = "a model server that runs already; it is neither started nor stopped, and was not asked for"
        return PlannedPart("llm", what, address_of(llm.llm), started=False)
    server = llm.resolve(state)
    return PlannedPart("llm", f"the {server.kind}, model {server.model}", FREE)


def _proxy(choice: ProxyChoice) -> PlannedPart:
    what = f"{_name(choice)}, because {choice.why}"
    if choice.api is None:
        return PlannedPart("proxy", what, FREE)
    return PlannedPart("proxy", what, choice.api.removeprefix("http://"), started=False)


def _name(choice: ProxyChoice) -> str:
    return "the built-in proxy" if choice.kind == "builtin" else "Toxiproxy"


def _compose(llm: LlmRequest) -> Surroundings:
    from chaos.stack.compose import DEPENDENCIES, LLMS

    parts = [
        PlannedPart("service", "container service", _PROJECT),
        PlannedPart("proxy", "container toxiproxy", _PROJECT),
        PlannedPart("journeys", "Locust, which drives the load", "asks the service only"),
    ]
    for name, (_, upstream) in DEPENDENCIES.items():
        address = upstream.format(llm=LLMS[llm.llm])
        parts.append(PlannedPart(name, f"container {address.partition(':')[0]}", address))
    return Surroundings("compose", {part.name: part for part in parts}, "Toxiproxy", False, False)
