"""One proxy: an address to listen on, an upstream, its toxics and the connections going through it.

Everything here is one step of the event loop: names are looked up before. So a lease that ends finds a proxy
as the API left it, and nothing comes between an undoing and what it undoes.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from chaos.control.fault_proxy import ProxyState, Toxic
from chaos.proxy.acceptor import Acceptor, Descriptors
from chaos.proxy.addresses import listen_on, name_of, parse_address
from chaos.proxy.connection import Common, Connection, Dial
from chaos.proxy.end import End
from chaos.proxy.http.hop import Hop
from chaos.proxy.toxics import stage_kinds

_DESCRIPTORS_OF_A_CONNECTION = 2


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went through a proxy so far."""

    connections: int
    open: int
    from_client_bytes: int
    from_upstream_bytes: int


class Proxy:
    """Listens while enabled; its toxics stay when it does not."""

    def __init__(
        self,
        name: str,
        listen: str,
        upstream: str,
        common: Common,
        descriptors: Descriptors,
        *,
        hop: Hop | None = None,
        lease: str = "",
    ) -> None:
        self.name = name
        self.listen = listen
        self.upstream = upstream
        self.hop = hop
        self.lease = lease
        self.downed_by: set[str] = set()
        """The leases for which it is disabled; it comes back when the last of them ends."""
        self.is_owed = False
        """They ended, and its port was taken: whoever ended them tries again."""
        self._common = common
        self._descriptors = descriptors
        self._acceptor: Acceptor | None = None
        self._toxics: dict[str, Toxic] = {}
        self._connections: set[Connection] = set()
        self._accepted = 0
        self._from_client_bytes = 0
        self._from_upstream_bytes = 0

    @property
    def enabled(self) -> bool:
        return self._acceptor is not None

    @property
    def toxics(self) -> dict[str, Toxic]:
        """By name: those of the upstream direction first, each direction in the order of adding."""
        return dict(sorted(self._toxics.items(), key=lambda item: item[1].stream.lower() == "downstream"))

    @property
    def state(self) -> ProxyState:
        return ProxyState(
            self.name,
            self.listen,
            self.upstream,
            self.enabled,
            tuple(self.toxics.values()),
            self.hop is not None,
            self.lease,
        )

    @property
    def traffic(self) -> Traffic:
        return Traffic(
            self._accepted,
            len(self._connections),
            self._from_client_bytes + sum(each.client.received_bytes for each in self._connections),
            self._from_upstream_bytes + sum(each.upstream.received_bytes for each in self._connections),
        )

    def is_like(self, where: str, upstream: str, http: bool) -> bool:
        """Whether a proxy that is asked for is this one; its address is looked up."""
        return (self.listen, self.upstream, self.hop is not None) == (where, upstream, http)

    def struck_now(self) -> Counter[str]:
        """How many open connections each type of toxic struck, beside those that are in a record."""
        return Counter(kind for connection in self._connections for kind in connection.struck())

    def start(self, where: str | None = None) -> None:
        """Listen (`where` is `listen`, looked up); `AddressError` when that cannot be. Once is enough."""
        if self._acceptor is not None:
            return
        listener = listen_on(self.listen if where is None else where)
        loop = asyncio.get_running_loop()
        cost = _DESCRIPTORS_OF_A_CONNECTION + (self.hop.descriptors if self.hop is not None else 0)
        self.listen = name_of(listener)
        self.downed_by.clear()
        self.is_owed = False
        self._acceptor = Acceptor(
            listener, loop, lambda accepted: self._accept(accepted, loop, cost), self._descriptors, cost
        )

    def stop(self, because: str = "") -> None:
        """Close the port and every connection; `because` makes a fault of it that the evidence shows."""
        if self._acceptor is None:
            return
        self._acceptor.close()
        self._acceptor = None
        for connection in list(self._connections):
            connection.abort(because)
        if self.hop is not None:
            self.hop.stop()

    def move(self, listen: str, upstream: str) -> None:
        """Other addresses: this drops the connections and keeps the toxics."""
        self.stop()
        self.listen, self.upstream = listen, upstream

    def put_toxic(self, toxic: Toxic) -> None:
        """Add or change a toxic, on new connections and on those there are."""
        self._toxics[toxic.name] = toxic
        order = list(self._toxics)
        for connection in list(self._connections):
            connection.link(toxic.stream).put_toxic(toxic, order)

    def take_toxic(self, name: str) -> None:
        """Remove a toxic, also from the connections there are."""
        toxic = self._toxics.pop(name)
        closes = stage_kinds()[toxic.type].closes_when_removed
        for connection in list(self._connections):
            if not connection.link(toxic.stream).take_toxic(name, closes) and closes:
                connection.close()

    def toxics_of(self, lease: str) -> list[str]:
        """The toxics that hang on a lease."""
        return [toxic.name for toxic in self._toxics.values() if toxic.lease == lease]

    def _accept(self, accepted: socket.socket, loop: asyncio.AbstractEventLoop, cost: int) -> None:
        def gone(connection: Connection) -> None:
            self._connections.discard(connection)
            self._from_client_bytes += connection.client.received_bytes
            self._from_upstream_bytes += connection.upstream.received_bytes
            self._descriptors.give(cost)

        self._accepted += 1
        connection = Connection(self.name, self._toxics.values(), loop, self._common, gone)
        self._connections.add(connection)
        dial = (
            dial_tcp(self.upstream) if self.hop is None else self.hop.dial(connection.number, self.upstream)
        )
        connection.open(accepted, dial)


def dial_tcp(upstream: str) -> Dial:
    """How to reach an address; one that is none is found out when somebody connects, as on Toxiproxy."""

    async def dial(loop: asyncio.AbstractEventLoop, end: Callable[[], End]) -> None:
        address = parse_address(upstream)
        await loop.create_connection(end, address.host or "localhost", address.port)

    return dial
