"""All proxies of a server, and what the API may do to them.

The rules, down to which half of a failed request has happened, are Toxiproxy 2.12.0's as read from its
source and measured on it; one lock makes each request a step of its own, as its collection lock does.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from chaos.fault_proxy import ProxyState, Toxic
from chaos.proxy.addresses import AddressError
from chaos.proxy.proxy import Proxy
from chaos.proxy.toxics import Stage, stage_kinds


class RefusedError(Exception):
    """A request that cannot be done, with the HTTP status that says why."""

    def __init__(self, message: str, status: int) -> None:
        self.message = message
        self.status = status
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class ProxyInput:
    """A proxy as a client asks for it."""

    name: str
    listen: str
    upstream: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class Populated:
    """What `/populate` did; with `refused` it stopped there."""

    proxies: tuple[ProxyState, ...]
    refused: RefusedError | None


class Registry:
    """The proxies by name."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._proxies: dict[str, Proxy] = {}
        self._lock = asyncio.Lock()

    def states(self) -> list[ProxyState]:
        return [self._proxies[name].state for name in sorted(self._proxies)]

    def state(self, name: str) -> ProxyState:
        return self._find(name).state

    def toxic(self, proxy: str, name: str) -> Toxic:
        toxics = self._find(proxy).toxics
        if name not in toxics:
            raise RefusedError("toxic not found", 404)
        return toxics[name]

    async def create(self, wanted: ProxyInput) -> ProxyState:
        """A new proxy; one that cannot listen is not added."""
        _require(wanted)
        async with self._lock:
            if wanted.name in self._proxies:
                raise RefusedError("proxy already exists", 409)
            return (await self._add(wanted)).state

    async def update(self, name: str, listen: str, upstream: str, enabled: bool) -> ProxyState:
        async with self._lock:
            proxy = self._find(name)
            try:
                await proxy.update(listen, upstream, enabled)
            except AddressError as error:
                raise RefusedError(str(error), 500) from None
            return proxy.state

    async def delete(self, name: str) -> None:
        async with self._lock:
            await self._find(name).stop()
            del self._proxies[name]

    async def populate(self, wanted: Sequence[ProxyInput]) -> Populated:
        """Add what is not there, replace what differs, leave the rest; the first failure ends it."""
        for index, each in enumerate(wanted, start=1):
            try:
                _require(each)
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
        """Enable every proxy and remove every toxic; the first that cannot listen ends it."""
        async with self._lock:
            for proxy in self._proxies.values():
                try:
                    await proxy.start()
                except AddressError as error:
                    raise RefusedError(str(error), 500) from None
                for name in proxy.toxics:
                    proxy.take_toxic(name)

    async def stop(self) -> None:
        """Close every port and connection."""
        async with self._lock:
            for proxy in self._proxies.values():
                await proxy.stop()

    async def add_toxic(self, proxy: str, toxic: Toxic, asked: Mapping[str, int]) -> Toxic:
        """Add `toxic` with the attributes `asked` over its type's defaults."""
        async with self._lock:
            found = self._find(proxy)
            if toxic.name in found.toxics:
                raise RefusedError("toxic already exists", 409)
            added = _checked(replace(toxic, attributes=stage_kinds()[toxic.type].defaults), asked)
            found.put_toxic(added)
            return added

    async def update_toxic(self, proxy: str, name: str, toxicity: float, asked: Mapping[str, int]) -> Toxic:
        """Merge attributes into a toxic, key by key; a refused update changes nothing."""
        async with self._lock:
            changed = _checked(replace(self.toxic(proxy, name), toxicity=toxicity), asked)
            self._find(proxy).put_toxic(changed)
            return changed

    async def remove_toxic(self, proxy: str, name: str) -> None:
        async with self._lock:
            self.toxic(proxy, name)
            self._find(proxy).take_toxic(name)

    def _find(self, name: str) -> Proxy:
        if name not in self._proxies:
            raise RefusedError("proxy not found", 404)
        return self._proxies[name]

    async def _add(self, wanted: ProxyInput) -> Proxy:
        proxy = Proxy(wanted.name, wanted.listen, wanted.upstream, self._rng)
        if wanted.enabled:
            try:
                await proxy.start()
            except AddressError as error:
                raise RefusedError(str(error), 500) from None
        self._proxies[wanted.name] = proxy
        return proxy

    async def _add_or_replace(self, wanted: ProxyInput) -> Proxy:
        existing = self._proxies.get(wanted.name)
        if existing is not None:
            try:
                if not existing.differs(wanted.listen, wanted.upstream):
                    return existing
            except AddressError as error:
                raise RefusedError(str(error), 500) from None
            await existing.stop()
        return await self._add(wanted)


def _require(wanted: ProxyInput) -> None:
    for field in ("name", "upstream"):
        if not getattr(wanted, field):
            raise RefusedError(f"missing required field: {field}", 400)


def _checked(toxic: Toxic, asked: Mapping[str, int]) -> Toxic:
    """The toxic with the attributes `asked` for, unless it could not work with them."""
    kind: type[Stage] = stage_kinds()[toxic.type]
    names = {name.lower(): name for name in kind.defaults}
    merged = dict(toxic.attributes)
    for key, value in asked.items():
        if key.lower() not in names:
            allowed = ", ".join(kind.defaults) or "none"
            raise RefusedError(f"{toxic.type} has no attribute {key!r}; allowed: {allowed}", 400)
        merged[names[key.lower()]] = value
    if not 0.0 <= toxic.toxicity <= 1.0:
        raise RefusedError(f"toxicity must be within 0..1, not {toxic.toxicity}", 400)
    if why := kind.refuse(merged):
        raise RefusedError(why, 400)
    return replace(toxic, attributes=merged)
