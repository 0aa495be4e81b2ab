"""All proxies of a server, and what the API may do to them.

The rules, down to which half of a failed request has happened, are Toxiproxy 2.12.0's as read from its
source and measured on it; one lock makes each request a step of its own, as its collection lock does.
Leases do not wait for that lock, which a slow name server can hold: each method looks names up first, and
from then on acts in one step of the event loop on what it finds.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chaos.control.fault_proxy import ProxyState, Toxic
from chaos.proxy.acceptor import Descriptors
from chaos.proxy.addresses import AddressError, look_up
from chaos.proxy.asked import ProxyInput, RefusedError, require_fields, require_path, with_attributes
from chaos.proxy.connection import Common
from chaos.proxy.evidence import Evidence
from chaos.proxy.http.hop import Hop
from chaos.proxy.leases import LeaseMissingError, Leases
from chaos.proxy.loop_lag import LoopLag
from chaos.proxy.proxy import Proxy
from chaos.proxy.toxics import Held, stage_kinds

_TRY_AGAIN_S = 1.0
_DESCRIPTORS = 1_000_000
_STOP_STEPS = 100
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Populated:
    """What `/populate` did; with `refused` it stopped there."""

    proxies: tuple[ProxyState, ...]
    refused: RefusedError | None


class Registry:
    """The proxies by name, and the leases that some hang on."""

    def __init__(
        self,
        rng: random.Random,
        evidence: Evidence | None = None,
        *,
        leases: Callable[[Callable[[str], None]], Leases] = Leases,
        descriptors: Descriptors | None = None,
    ) -> None:
        self.evidence = evidence or Evidence()
        self.descriptors = descriptors or Descriptors(_DESCRIPTORS)
        self.leases = leases(self._end_lease)
        self.held = Held()
        self.lag = LoopLag()
        self._common = Common(rng, self.evidence, self.held)
        self._proxies: dict[str, Proxy] = {}
        self._lock = asyncio.Lock()

    def proxies(self) -> list[Proxy]:
        """All, by name."""
        return [self._proxies[name] for name in sorted(self._proxies)]

    def find(self, name: str) -> Proxy:
        """One; `RefusedError` when it is not there."""
        if name not in self._proxies:
            raise RefusedError("proxy not found", 404)
        return self._proxies[name]

    def states(self) -> list[ProxyState]:
        return [proxy.state for proxy in self.proxies()]

    def state(self, name: str) -> ProxyState:
        return self.find(name).state

    def toxic(self, proxy: str, name: str) -> Toxic:
        toxics = self.find(proxy).toxics
        if name not in toxics:
            raise RefusedError("toxic not found", 404)
        return toxics[name]

    def require_lease(self, name: str) -> None:
        """`RefusedError` when a lease is named that nobody holds."""
        if name:
            try:
                self.leases.require(name)
            except LeaseMissingError:
                raise RefusedError("lease not found", 404) from None

    async def create(self, wanted: ProxyInput) -> ProxyState:
        """A new proxy; one that cannot listen is not added."""
        require_fields(wanted)
        async with self._lock:
            self.require_lease(wanted.lease)
            if wanted.name in self._proxies:
                raise RefusedError("proxy already exists", 409)
            where = await self._where(wanted)
            return self._add(wanted, where).state

    async def update(
        self,
        name: str,
        listen: str | None = None,
        upstream: str | None = None,
        enabled: bool | None = None,
        lease: str = "",
    ) -> ProxyState:
        """Change what is given. With a lease the proxy is disabled until that ends."""
        async with self._lock:
            self.require_lease(lease)
            text = self.find(name).listen if listen is None else listen
            where = await _looked_up(text)
            proxy = self.find(name)
            upstream = proxy.upstream if upstream is None else upstream
            moves = proxy.listen not in (where, text) or proxy.upstream != upstream
            self.require_lease(lease)
            if lease and (enabled is not False or moves):
                raise RefusedError('a lease goes with {"enabled": false} and no new address', 400)
            if enabled is False and not lease:
                proxy.is_owed = False
            if moves:
                enabled = proxy.enabled if enabled is None else enabled
                proxy.move(text, upstream)
            if lease and (proxy.enabled or proxy.downed_by or proxy.is_owed):
                proxy.downed_by.add(lease)
            if enabled is False:
                proxy.stop(because="disabled")
            elif enabled:
                _start(proxy, where)
            return proxy.state

    async def delete(self, name: str) -> None:
        async with self._lock:
            self.find(name).stop()
            del self._proxies[name]

    async def populate(self, wanted: Sequence[ProxyInput]) -> Populated:
        """Add what is not there, replace what differs, leave the rest; the first failure ends it."""
        for index, each in enumerate(wanted, start=1):
            try:
                require_fields(each)
                self.require_lease(each.lease)
            except RefusedError as refused:
                return Populated((), RefusedError(f"{refused.message} at proxy {index}", refused.status))
        done: list[ProxyState] = []
        async with self._lock:
            for each in wanted:
                try:
                    done.append((await self._add_or_replace(each)).state)
                except RefusedError as refused:
                    return Populated(tuple(done), refused)
        return Populated(tuple(done), None)

    async def reset(self) -> None:
        """Enable every proxy and remove every fault; the first that cannot listen ends it."""
        async with self._lock:
            for name in list(self._proxies):
                where = await _looked_up(self._proxies[name].listen) if name in self._proxies else ""
                proxy = self._proxies.get(name)
                if proxy is None:
                    continue  # its lease ended meanwhile
                _start(proxy, where)
                for toxic in proxy.toxics:
                    proxy.take_toxic(toxic)
                if proxy.hop is not None:
                    proxy.hop.clear()

    async def stop(self) -> None:
        """Close every port and connection; what faults did to these is in the evidence then."""
        self.leases.close()
        async with self._lock:
            for proxy in self._proxies.values():
                proxy.stop()
            for _ in range(_STOP_STEPS):
                if not any(proxy.traffic.open for proxy in self._proxies.values()):
                    break
                await asyncio.sleep(0.01)

    async def add_toxic(self, proxy: str, toxic: Toxic, asked: Mapping[str, Any]) -> Toxic:
        """Add `toxic` with the attributes `asked` over its type's defaults."""
        async with self._lock:
            found = self.find(proxy)
            self.require_lease(toxic.lease)
            require_path(toxic.name)
            if toxic.name in found.toxics:
                raise RefusedError("toxic already exists", 409)
            added = with_attributes(replace(toxic, attributes=stage_kinds()[toxic.type].defaults), asked)
            found.put_toxic(added)
            return added

    async def update_toxic(self, proxy: str, name: str, toxicity: float, asked: Mapping[str, Any]) -> Toxic:
        """Merge attributes into a toxic, key by key; a refused update changes nothing."""
        async with self._lock:
            changed = with_attributes(replace(self.toxic(proxy, name), toxicity=toxicity), asked)
            self.find(proxy).put_toxic(changed)
            return changed

    async def remove_toxic(self, proxy: str, name: str) -> None:
        async with self._lock:
            self.toxic(proxy, name)
            self.find(proxy).take_toxic(name)

    def hanging_on(self, lease: str) -> list[dict[str, str]]:
        """What the end of a lease undoes, each named as the API names it."""
        hanging = []
        for proxy in self.proxies():
            if proxy.lease == lease:
                hanging.append({"proxy": proxy.name})
            if lease in proxy.downed_by:
                hanging.append({"proxy": proxy.name, "enabled": "false"})
            hanging += [{"proxy": proxy.name, "toxic": name} for name in proxy.toxics_of(lease)]
            if proxy.hop is not None:
                hanging += [{"proxy": proxy.name, "http_fault": name} for name in proxy.hop.hanging_on(lease)]
        return hanging

    def _end_lease(self, lease: str) -> None:
        """Undo what hangs on a lease, in one step."""
        for proxy in self.proxies():
            if proxy.lease == lease:
                proxy.stop()
                del self._proxies[proxy.name]
                continue
            for name in proxy.toxics_of(lease):
                proxy.take_toxic(name)
            if proxy.hop is not None:
                proxy.hop.end_lease(lease)
            if lease in proxy.downed_by:
                proxy.downed_by.discard(lease)
                if not proxy.downed_by:
                    proxy.is_owed = True
                    self._enable_again(proxy)

    def _enable_again(self, proxy: Proxy) -> None:
        """Open a port that a lease kept closed; while somebody else has it, try again every second."""
        if self._proxies.get(proxy.name) is not proxy or proxy.downed_by or not proxy.is_owed:
            return
        try:
            proxy.start()
        except AddressError as error:
            _log.error("proxy %s cannot be enabled again after its lease ended: %s", proxy.name, error)
            asyncio.get_running_loop().call_later(_TRY_AGAIN_S, self._enable_again, proxy)

    async def _where(self, wanted: ProxyInput) -> str:
        """Where a proxy is to listen, looked up; one that is not to listen may have any address."""
        if not wanted.enabled:
            return wanted.listen
        try:
            return await look_up(wanted.listen)
        except AddressError as error:
            raise RefusedError(f"listen tcp: {error}", 500) from None

    def _add(self, wanted: ProxyInput, where: str) -> Proxy:
        """A proxy in the place of the one that has its name, if any, whose port may be the same."""
        self.require_lease(wanted.lease)
        if wanted.name in self._proxies:
            self._proxies[wanted.name].stop()
        proxy = Proxy(
            wanted.name,
            wanted.listen,
            wanted.upstream,
            self._common,
            self.descriptors,
            hop=Hop(wanted.name, self._common.rng, self.evidence) if wanted.http else None,
            lease=wanted.lease,
        )
        if wanted.enabled:
            _start(proxy, where)
        self._proxies[wanted.name] = proxy
        return proxy

    async def _add_or_replace(self, wanted: ProxyInput) -> Proxy:
        where = ""
        if wanted.name in self._proxies:
            where = await _looked_up(wanted.listen)
        elif wanted.enabled:
            where = await self._where(wanted)
        existing = self._proxies.get(wanted.name)
        if existing is not None and existing.is_like(where, wanted.upstream, wanted.http):
            self.require_lease(wanted.lease)
            existing.lease = wanted.lease or existing.lease
            return existing
        return self._add(wanted, where or wanted.listen)


async def _looked_up(listen: str) -> str:
    try:
        return await look_up(listen)
    except AddressError as error:
        raise RefusedError(str(error), 500) from None


def _start(proxy: Proxy, where: str) -> None:
    try:
        proxy.start(where)
    except AddressError as error:
        raise RefusedError(str(error), 500) from None
