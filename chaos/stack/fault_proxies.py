"""Puts the fault proxy before both dependencies, and where need be a second one behind it.

Where a fault acts on requests and the fault proxy is a Toxiproxy, which reads bytes alone, the built-in proxy
stands between it and the dependencies (`requests_proxy`); it starts first, so that the other leads somewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chaos.control.fault_proxy import FaultProxyError
from chaos.control.toxiproxy import Toxiproxy
from chaos.stack.borrowed import BorrowedProxies
from chaos.stack.description import ProxyRecord, StackDescription
from chaos.stack.errors import ProxyUnavailable
from chaos.stack.proxy_choice import ProxyChoice, named_version
from chaos.stack.wiring import DEPENDENCIES, Wiring

WHY_BEHIND = "a fault of the experiment acts on requests, which Toxiproxy does not read"


@dataclass(frozen=True, slots=True)
class FaultProxies:
    """The fault proxies of one stack. `launch` starts a part by name, command and API, and waits for it;
    `write` puts the description on disk."""

    choice: ProxyChoice
    on_requests: bool
    borrowed: BorrowedProxies
    description: StackDescription
    launch: Callable[[str, tuple[str, ...], str], None]
    write: Callable[[], None]
    say: Callable[[str], None]

    @property
    def are_chained(self) -> bool:
        """Whether the fault proxy needs another one behind it, to read the requests."""
        return self.on_requests and self.choice.kind != "builtin"

    def start(self, wiring: Wiring) -> None:
        """Start what is ours and make the proxies of both dependencies. Raises ProxyUnavailable."""
        if self.are_chained:
            self._start_behind(wiring)
        self._start_before(wiring)

    def _start_behind(self, wiring: Wiring) -> None:
        record = ProxyRecord(kind="builtin", api=wiring.url("requests_proxy"), why=WHY_BEHIND, owned=True)
        self.description.requests_proxy = record
        client = Toxiproxy(record.api)
        try:
            self.launch("requests_proxy", wiring.requests_proxy_command(), record.api)
            record.version = client.version()
            for name in DEPENDENCIES:
                dependency = wiring.dependency(name)
                client.create_proxy(name, dependency.next, dependency.upstream, http=True)
        except FaultProxyError as error:
            raise ProxyUnavailable(
                f"the built-in proxy at {record.api} ({WHY_BEHIND}) failed: {error}"
            ) from error
        self.say(f"behind the fault proxy: the built-in proxy {record.version}, because {WHY_BEHIND}")

    def _start_before(self, wiring: Wiring) -> None:
        choice = self.choice
        record = ProxyRecord(
            kind=choice.kind, api=choice.api or wiring.url("proxy"), why=choice.why, owned=choice.owned
        )
        self.description.proxy = record
        reads_requests = self.on_requests and not self.are_chained
        client = Toxiproxy(record.api)
        try:
            if choice.owned:
                self.launch("proxy", wiring.proxy_command(choice), record.api)
            else:
                self.borrowed.make_room(client, DEPENDENCIES)
            record.version = named_version(client.version(), choice)
            if reads_requests:
                self.description.requests_proxy = record
            for name in DEPENDENCIES:
                dependency = wiring.dependency(name)
                if not choice.owned:
                    self.borrowed.remember(record.api, name, dependency.listen, dependency.next)
                self.description.dependencies[name] = dependency
                self.write()
                client.create_proxy(name, dependency.listen, dependency.next, http=reads_requests)
        except FaultProxyError as error:
            raise ProxyUnavailable(
                f"the fault proxy at {record.api} ({choice.why}) failed: {error}"
            ) from error
        self.say(choice.sentence(record.version))
