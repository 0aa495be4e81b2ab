"""One proxy: an address to listen on, an upstream, its toxics and the connections going through it."""

from __future__ import annotations

import asyncio
import random

from chaos.fault_proxy import ProxyState, Toxic
from chaos.proxy.addresses import AddressError, listen_on, name_of, parse_address, resolve_address
from chaos.proxy.connection import Connection, End
from chaos.proxy.toxics import stage_kinds


class Proxy:
    """Listens while enabled; its toxics stay when it does not."""

    def __init__(self, name: str, listen: str, upstream: str, rng: random.Random) -> None:
        self.name = name
        self.listen = listen
        self.upstream = upstream
        self._rng = rng
        self._server: asyncio.Server | None = None
        self._toxics: dict[str, Toxic] = {}
        self._connections: set[Connection] = set()

    @property
    def enabled(self) -> bool:
        return self._server is not None

    @property
    def toxics(self) -> dict[str, Toxic]:
        """By name: those of the upstream direction first, each direction in the order of adding."""
        return dict(sorted(self._toxics.items(), key=lambda item: item[1].stream.lower() == "downstream"))

    @property
    def state(self) -> ProxyState:
        return ProxyState(self.name, self.listen, self.upstream, self.enabled, tuple(self.toxics.values()))

    def differs(self, listen: str, upstream: str) -> bool:
        """Whether this would be another proxy; what counts is what `listen` resolves to."""
        return self.listen != str(resolve_address(listen)) or self.upstream != upstream

    async def start(self) -> None:
        """Listen; `AddressError` when that cannot be. Nothing happens when it does already."""
        if self._server is not None:
            return
        listener = listen_on(self.listen)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: self._accept(loop), sock=listener)
        self.listen = name_of(listener)

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for connection in list(self._connections):
            connection.abort()

    async def update(self, listen: str, upstream: str, enabled: bool) -> None:
        """Other addresses or another state; a new address drops the connections and keeps the toxics."""
        if self.differs(listen, upstream):
            await self.stop()
            self.listen, self.upstream = listen, upstream
        if enabled:
            await self.start()
        else:
            await self.stop()

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
            if closes:
                connection.close()
            else:
                connection.link(toxic.stream).take_toxic(name)

    def _accept(self, loop: asyncio.AbstractEventLoop) -> End:
        connection = Connection(self._toxics.values(), loop, self._rng, self._connections.discard)
        self._connections.add(connection)
        try:
            upstream = parse_address(self.upstream)
            connection.dial(upstream.host or "localhost", upstream.port)
        except AddressError:
            connection.dial("", 0)  # no such place: the client is accepted and then closed, as on Toxiproxy
        return connection.client
