"""A typed guard around toxiproxy-python, for Toxiproxy and for the built-in proxy alike.

The library (0.1.1, 2019) is kept for its reading of answers and its `Proxy` and `Toxic` objects. Its calls
are not used, and this module says why once: they have no timeouts (Toxiproxy holds a call for up to 25 s
while a client does not read), share one class-level host between all servers, and turn a 5xx into `False`,
a `KeyError` or a `JSONDecodeError`, so a rollback that failed looks like one that worked. It has no update
either, and its `populate` destroys what differs. Here every call is bounded as a whole, every answer other
than the one expected is a `FaultProxyError`, and what is written is read back: Toxiproxy ignores a misspelt
attribute in silence.

Measured on 2.12.0: while a client does not read, a call about a toxic hangs and the proxy stays wedged even
after that client is gone, so that not even its state can be read; `DELETE` of the whole proxy frees it at
once. Hence the escalation, and hence the look at the proxy before each such call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from toxiproxy.proxy import Proxy as LibraryProxy
from toxiproxy.toxic import Toxic as LibraryToxic

from chaos.clock import Clock
from chaos.control.fault_proxy import (
    USE_BUILTIN,
    FaultProxyError,
    ProxyGoneError,
    ProxyHungError,
    ProxyMissingError,
    ProxyState,
    Toxic,
)
from chaos.control.fault_proxy_api import FaultProxyApi

__all__ = [
    "FaultProxyError",
    "ProxyGoneError",
    "ProxyHungError",
    "ProxyMissingError",
    "ProxyState",
    "Toxic",
    "Toxiproxy",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_READY_POLL_S = 0.05


class Toxiproxy(FaultProxyApi):
    """One Toxiproxy (or built-in proxy) at `api`; each call takes at most about `timeout_s`.

    With a `lease` what it adds or disables is undone when that ends: on the built-in proxy alone.
    """

    def __init__(self, api: str, timeout_s: float = 5.0, lease: str = "") -> None:
        super().__init__(api, timeout_s)
        self.lease = lease

    def version(self) -> str:
        """The version it claims; a build by `go install` says `git`, the built-in proxy says `builtin`."""
        return self._version(self.timeout_s)

    def wait_ready(self, timeout_s: float, clock: Clock) -> str:
        """Its version, as soon as it answers; raises the last error when it does not within `timeout_s`."""
        until_s = clock.monotonic_s() + timeout_s
        while True:
            left_s = until_s - clock.monotonic_s()
            try:
                return self._version(min(self.timeout_s, max(left_s, _READY_POLL_S)))
            except (ProxyGoneError, ProxyHungError):
                if clock.monotonic_s() >= until_s:
                    raise
            clock.sleep(_READY_POLL_S)

    def _version(self, timeout_s: float) -> str:
        return self._ask("GET", "/version", None, lambda raw: str(raw["version"]), timeout_s)

    def proxies(self) -> dict[str, ProxyState]:
        """Every proxy by name, with its toxics."""
        return self._ask(
            "GET", "/proxies", None, lambda raw: {name: _proxy(each) for name, each in raw.items()}
        )

    def proxy(self, name: str) -> ProxyState:
        """One proxy with its toxics; `ProxyMissingError` when there is none of that name."""
        return self._ask("GET", _path(name), None, _proxy)

    def create_proxy(
        self,
        name: str,
        listen: str,
        upstream: str,
        toxics: tuple[Toxic, ...] = (),
        enabled: bool = True,
        *,
        http: bool = False,
        lease: str = "",
    ) -> ProxyState:
        """A new proxy, made disabled, given its toxics, then enabled: so no connection slips past a toxic.

        Port 0 in `listen` comes back as the real port. A proxy that cannot listen is not left behind. With
        `http` it reads requests, with `lease` it goes when that ends: the built-in proxy alone can do so.
        """
        _path(name)
        body: dict[str, Any] = {"name": name, "listen": listen, "upstream": upstream, "enabled": False}
        body |= {key: value for key, value in (("http", http), ("lease", lease)) if value}
        created = self._ask("POST", "/proxies", body, _proxy)
        try:
            if (created.http, created.lease) != (http, lease):
                asked = f"create proxy {name!r} with http={http}, lease={lease!r}"
                raise FaultProxyError(asked, "it knows neither", advice=USE_BUILTIN)
            added = tuple(self.add_toxic(name, toxic) for toxic in toxics)
            return self.set_enabled(name, True) if enabled else replace(created, toxics=added)
        except FaultProxyError:
            with suppress(FaultProxyError):  # why it could not be made says more than why it is still there
                self.delete_proxy(name)
            raise

    def update_proxy(self, name: str, *, listen: str = "", upstream: str = "") -> ProxyState:
        """Move a proxy to another port or upstream; its connections are cut, its toxics stay. Read back."""
        body = {key: value for key, value in (("listen", listen), ("upstream", upstream)) if value}
        self._ask("POST", _path(name), body, _proxy)
        state = self.proxy(name)
        if upstream not in ("", state.upstream) or _is_elsewhere(listen, state.listen):
            raise FaultProxyError(f"update proxy {name!r} with {body}", f"it reads back as {state}")
        return state

    def populate(self, proxies: Iterable[ProxyState]) -> dict[str, ProxyState]:
        """Proxies by `/populate`, which leaves those that are there with the same addresses as they are.

        What has another address is replaced and loses its toxics; what is not named stays. Read back: so a
        proxy that was there and stays disabled is an error, not a surprise.
        """
        wanted = {state.name: state for state in proxies}
        if beyond := [state.name for state in wanted.values() if state.toxics or state.http or state.lease]:
            raise ValueError(f"/populate makes bare proxies; use create_proxy for {', '.join(beyond)}")
        body = [
            {"name": name, "listen": each.listen, "upstream": each.upstream, "enabled": each.enabled}
            for name, each in wanted.items()
        ]
        self._ask("POST", "/populate", body, lambda raw: [_proxy(each) for each in raw["proxies"] or ()])
        found = self.proxies()
        for name, each in wanted.items():
            state = found.get(name)
            if (
                state is None
                or (state.upstream, state.enabled) != (each.upstream, each.enabled)
                or _is_elsewhere(each.listen, state.listen)
            ):
                raise FaultProxyError(f"populate with {each}", f"it reads back as {state}")
        return {name: found[name] for name in wanted}

    def delete_proxy(self, name: str) -> None:
        """Remove a proxy, its toxics and its connections; read back."""
        self._delete(_path(name))

    def set_enabled(self, proxy: str, enabled: bool) -> ProxyState:
        """Open a proxy's port, or close it with every connection; toxics stay. Read back."""
        held = {"lease": self.lease} if self.lease and not enabled else {}
        self._ask("POST", _path(proxy), {"enabled": enabled, **held}, _proxy)
        state = self.proxy(proxy)
        if state.enabled != enabled:
            raise FaultProxyError(
                f"set enabled={enabled} on {proxy!r}", f"it reads back enabled={state.enabled}"
            )
        return state

    def toxics(self, proxy: str) -> dict[str, Toxic]:
        """The toxics of one proxy by name."""
        return self._ask(
            "GET", f"{_path(proxy)}/toxics", None, lambda raw: {each["name"]: _toxic(each) for each in raw}
        )

    def add_toxic(self, proxy: str, toxic: Toxic) -> Toxic:
        """Add a toxic, read it back and compare; one that reads back differently is removed again.

        When that hangs it is an error, and the proxy is as it was, but for its connections.
        """
        toxic = replace(toxic, lease=toxic.lease or self.lease)
        path = f"{_path(proxy)}/toxics"
        toxic_path = f"{path}/{_segment(toxic.name)}"
        body = {
            "name": toxic.name,
            "type": toxic.type,
            "stream": toxic.stream,
            "toxicity": toxic.toxicity,
            "attributes": dict(toxic.attributes),
            **({"lease": toxic.lease} if toxic.lease else {}),
        }
        with self._freeing(proxy):
            self._ask("POST", path, body, _toxic)
        found = self._ask("GET", toxic_path, None, _toxic)
        if difference := _difference(toxic, found):
            self.remove_toxic(proxy, toxic.name)
            raise FaultProxyError(
                f"add toxic {toxic.name!r} to {proxy!r}", f"it reads back with {difference}"
            )
        return found

    def update_toxic(self, proxy: str, toxic: Toxic) -> Toxic:
        """Give a toxic that is in other attributes, read it back and compare; its lease stays as it was.

        When that hangs it is an error, and the proxy is as it was, but for its connections.
        """
        path = f"{_path(proxy)}/toxics/{_segment(toxic.name)}"
        with self._freeing(proxy):
            self._ask(
                "POST", path, {"attributes": dict(toxic.attributes), "toxicity": toxic.toxicity}, _toxic
            )
        found = self._ask("GET", path, None, _toxic)
        if difference := _difference(replace(toxic, lease=found.lease), found):
            asked = f"change toxic {toxic.name!r} on {proxy!r}"
            raise FaultProxyError(asked, f"it reads back with {difference}")
        return found

    def remove_toxic(self, proxy: str, toxic: str) -> None:
        """Remove a toxic; read back. When that hangs, the proxy is made anew with all else it had.

        The escalation costs the proxy's open connections; leaving a fault in costs the result.
        """
        path = f"{_path(proxy)}/toxics/{_segment(toxic)}"
        with suppress(ProxyHungError), self._freeing(proxy, without=toxic):
            self._ask("DELETE", path)
        self._require_gone(path)

    def reset(self) -> None:
        """Enable every proxy and remove every toxic, then read back that it is so."""
        self._ask("POST", "/reset")
        for state in self.proxies().values():
            if state.toxics or not state.enabled:
                raise FaultProxyError("POST /reset", f"proxy {state.name!r} still reads back as {state}")

    @contextmanager
    def _freeing(self, proxy: str, without: str = "") -> Iterator[None]:
        """A call about toxics which, when it hangs, costs the proxy: it is made anew as it was before."""
        was = self.proxy(proxy)
        try:
            yield
        except ProxyHungError:
            self.delete_proxy(proxy)
            kept = tuple(toxic for toxic in was.toxics if toxic.name != without)
            more: Any = {"http": was.http, "lease": was.lease}
            self.create_proxy(proxy, was.listen, was.upstream, kept, was.enabled, **more)
            raise

    def _delete(self, path: str) -> None:
        self._ask("DELETE", path)
        self._require_gone(path)

    def _require_gone(self, path: str) -> None:
        try:
            left = self._ask("GET", path, None, dict)
        except ProxyMissingError:
            return
        raise FaultProxyError(f"DELETE {self.api}{path}", f"it reads back as {left}")


def _proxy(raw: Mapping[str, Any]) -> ProxyState:
    known = LibraryProxy(**raw)
    if not isinstance(known.enabled, bool):
        raise TypeError("enabled is neither true nor false")
    toxics = tuple(_toxic(each) for each in raw.get("toxics") or ())
    http, lease = bool(raw.get("http")), str(raw.get("lease", ""))
    return ProxyState(known.name, known.listen, known.upstream, known.enabled, toxics, http, lease)


def _toxic(raw: Mapping[str, Any]) -> Toxic:
    known = LibraryToxic(**raw)
    lease, toxicity = str(raw.get("lease", "")), float(known.toxicity)
    return Toxic(known.name, known.type, known.stream, toxicity, dict(known.attributes), lease)


def _difference(wanted: Toxic, found: Toxic) -> str:
    """What reads back otherwise than it was written; empty when all is as asked."""
    pairs: dict[str, tuple[object, object]] = {
        "type": (wanted.type, found.type),
        "stream": (wanted.stream, found.stream),
        "toxicity": (wanted.toxicity, round(found.toxicity, 6)),  # kept as float32 by Toxiproxy
        "lease": (wanted.lease, found.lease),
    }
    for key, value in wanted.attributes.items():
        pairs[key] = (value, found.attributes.get(key, "nothing: it knows no such attribute"))
    return ", ".join(f"{key} = {got} (asked: {want})" for key, (want, got) in pairs.items() if want != got)


def _is_elsewhere(asked: str, found: str) -> bool:
    """Whether it listens on another port than asked; hosts are resolved, and port 0 becomes a real one."""
    port = asked.rpartition(":")[2]
    return port not in ("", "0", found.rpartition(":")[2])


def _path(proxy: str) -> str:
    return f"/proxies/{_segment(proxy)}"


def _segment(name: str) -> str:
    """A name that Toxiproxy can address: it accepts `a/b` and `..`, but then never finds them again."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a proxy or toxic; use letters, digits, '_', '-' and '.'")
    return name
