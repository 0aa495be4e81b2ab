"""A typed guard around toxiproxy-python, for Toxiproxy and for the built-in proxy alike.

The library (0.1.1, 2019) is kept for its HTTP consumer and its `Proxy` and `Toxic` objects. Its higher
calls are not used, and this module says why once: they have no timeouts (Toxiproxy holds a call for up
to 25 s while a client does not read), share one class-level host between all servers, and turn a 5xx
into `False`, a `KeyError` or a `JSONDecodeError`, so a rollback that failed looks like one that worked.
Here each client has a consumer of its own with its own address, every call is bounded, every answer
other than 2xx is a `FaultProxyError`, and what is written is read back: Toxiproxy ignores a misspelt
attribute in silence. Connections are not pooled: Toxiproxy closes idle ones after 60 s.

Measured on 2.12.0: while a client does not read, deleting a toxic hangs and the proxy stays wedged even
after that client is gone; `DELETE` of the whole proxy frees it at once. Hence the escalation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from toxiproxy.api import APIConsumer, validate_response
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists
from toxiproxy.proxy import Proxy as LibraryProxy
from toxiproxy.toxic import Toxic as LibraryToxic

from chaos.clock import Clock
from chaos.fault_proxy import (
    FaultProxyError,
    ProxyGoneError,
    ProxyHungError,
    ProxyMissingError,
    ProxyState,
    Toxic,
)

__all__ = [
    "FaultProxyError",
    "ProxyGoneError",
    "ProxyHungError",
    "ProxyMissingError",
    "ProxyState",
    "Toxic",
    "Toxiproxy",
]

_STATUS_OF = {ProxyExists: 409, NotFound: 404, InvalidToxic: 400}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_READY_POLL_S = 0.05
USE_BUILTIN = "the built-in proxy can: RAGQUAKE_PROXY=builtin"


class _Consumer(APIConsumer):  # type: ignore[misc]  # the library has no types
    """The library's consumer with the method that it lacks."""

    @classmethod
    def put(cls, url: str, **options: Any) -> requests.Response:
        answer = requests.put(f"http://{cls.host}:{cls.port}{url}", **options)
        return cast(requests.Response, validate_response(answer))


class Toxiproxy:
    """One Toxiproxy (or built-in proxy) at `api`; each call takes at most about `timeout_s`.

    With a `lease` what it adds or disables is undone when that ends: on the built-in proxy alone.
    """

    def __init__(self, api: str, timeout_s: float = 5.0, lease: str = "") -> None:
        parts = urlsplit(api)
        if parts.scheme != "http" or not parts.hostname or not parts.port or parts.path.strip("/"):
            raise ValueError(f"{api!r} is not the address of a fault proxy; write http://HOST:PORT")
        if not timeout_s > 0:
            raise ValueError(f"timeout_s={timeout_s!r} would wait for nothing; give a number above 0")
        self.api = api.rstrip("/")
        self.timeout_s = timeout_s
        self.lease = lease
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self._consumer: Any = type("BoundConsumer", (_Consumer,), {"host": host, "port": parts.port})

    def version(self) -> str:
        """The version it claims; a build by `go install` says `git`, the built-in proxy says `builtin`."""
        return str(self._ask("get", "/version")["version"])

    def wait_ready(self, timeout_s: float, clock: Clock) -> str:
        """Its version, as soon as it answers; raises the last error when it does not within `timeout_s`."""
        until_s = clock.monotonic_s() + timeout_s
        while True:
            try:
                return self.version()
            except (ProxyGoneError, ProxyHungError):
                if clock.monotonic_s() >= until_s:
                    raise
            clock.sleep(_READY_POLL_S)

    def proxies(self) -> dict[str, ProxyState]:
        """Every proxy by name, with its toxics."""
        return {name: _proxy(raw) for name, raw in self._ask("get", "/proxies").items()}

    def proxy(self, name: str) -> ProxyState:
        """One proxy with its toxics; `ProxyMissingError` when there is none of that name."""
        return _proxy(self._ask("get", _path(name)))

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
        created = _proxy(self._ask("post", "/proxies", body))
        try:
            if (created.http, created.lease) != (http, lease):
                asked = f"create proxy {name!r} with http={http}, lease={lease!r}"
                raise FaultProxyError(asked, "it knows neither", advice=USE_BUILTIN)
            for toxic in toxics:
                self.add_toxic(name, toxic)
            return self.set_enabled(name, True) if enabled else replace(created, toxics=toxics)
        except FaultProxyError:
            self.delete_proxy(name)
            raise

    def delete_proxy(self, name: str) -> None:
        """Remove a proxy, its toxics and its connections."""
        self._ask("delete", _path(name))

    def set_enabled(self, proxy: str, enabled: bool) -> ProxyState:
        """Open a proxy's port, or close it with every connection; toxics stay. Read back."""
        held = {"lease": self.lease} if self.lease and not enabled else {}
        state = _proxy(self._ask("post", _path(proxy), {"enabled": enabled, **held}))
        if state.enabled != enabled:
            raise FaultProxyError(
                f"set enabled={enabled} on {proxy!r}", f"it reads back enabled={state.enabled}"
            )
        return state

    def toxics(self, proxy: str) -> dict[str, Toxic]:
        """The toxics of one proxy by name."""
        return {raw["name"]: _toxic(raw) for raw in self._ask("get", f"{_path(proxy)}/toxics")}

    def add_toxic(self, proxy: str, toxic: Toxic) -> Toxic:
        """Add a toxic, read it back and compare; one that reads back differently is removed again."""
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
        self._ask("post", path, body)
        found = _toxic(self._ask("get", toxic_path))
        if difference := _difference(toxic, found):
            self.remove_toxic(proxy, toxic.name)
            raise FaultProxyError(
                f"add toxic {toxic.name!r} to {proxy!r}", f"it reads back with {difference}"
            )
        return found

    def update_toxic(self, proxy: str, toxic: Toxic) -> Toxic:
        """Give a toxic that is in other attributes, read it back and compare; its lease stays as it was."""
        path = f"{_path(proxy)}/toxics/{_segment(toxic.name)}"
        self._ask("post", path, {"attributes": dict(toxic.attributes), "toxicity": toxic.toxicity})
        found = _toxic(self._ask("get", path))
        if difference := _difference(replace(toxic, lease=found.lease), found):
            asked = f"change toxic {toxic.name!r} on {proxy!r}"
            raise FaultProxyError(asked, f"it reads back with {difference}")
        return found

    def remove_toxic(self, proxy: str, toxic: str) -> None:
        """Remove a toxic. When that hangs, the proxy is deleted and created anew with all else it had.

        The escalation costs the proxy's open connections; leaving a fault in costs the result.
        """
        before = self.proxy(proxy)
        try:
            self._ask("delete", f"{_path(proxy)}/toxics/{_segment(toxic)}")
        except ProxyHungError:
            self.delete_proxy(proxy)
            kept = tuple(other for other in before.toxics if other.name != toxic)
            self.create_proxy(
                proxy,
                before.listen,
                before.upstream,
                kept,
                before.enabled,
                http=before.http,
                lease=before.lease,
            )

    def reset(self) -> None:
        """Enable every proxy and remove every toxic, then read back that it is so."""
        self._ask("post", "/reset")
        for state in self.proxies().values():
            if state.toxics or not state.enabled:
                raise FaultProxyError("POST /reset", f"proxy {state.name!r} still reads back as {state}")

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON of a 2xx answer (`None` for 204); everything else is an error that keeps the question."""
        asked = f"{method.upper()} {self.api}{path}" + (f" {dict(body)}" if body is not None else "")
        options: dict[str, Any] = {
            "timeout": self.timeout_s,
            "allow_redirects": False,
            "proxies": {"http": None, "https": None, "all": None},  # loopback never goes through HTTP_PROXY
        }
        if body is not None:
            options["json"] = dict(body)
        call: Callable[..., requests.Response] = getattr(self._consumer, method)
        try:
            answer = call(path, **options)
        except (ProxyExists, NotFound, InvalidToxic) as refusal:
            status = _STATUS_OF[type(refusal)]
            error = ProxyMissingError if status == 404 else FaultProxyError
            raise error(asked, _text(refusal.args[0]), status=status) from None
        except requests.Timeout as late:
            raise ProxyHungError(asked, f"no answer within {self.timeout_s} s") from late
        except requests.RequestException as broken:
            if _refused(broken):
                advice = "nobody listens there; is the fault proxy running?"
                raise ProxyGoneError(asked, "connection refused", advice=advice) from broken
            raise ProxyHungError(asked, f"the connection broke: {broken}") from broken
        if answer.status_code == 503:
            raise ProxyHungError(asked, _text(answer.content), status=503)
        if not 200 <= answer.status_code < 300:
            raise FaultProxyError(asked, _text(answer.content), status=answer.status_code)
        if answer.status_code == 204:
            return None
        try:
            return answer.json()
        except requests.JSONDecodeError:
            advice = "does something other than Toxiproxy >= 2.7 listen there?"
            raise FaultProxyError(
                asked, _text(answer.content), status=answer.status_code, advice=advice
            ) from None


def _proxy(raw: Mapping[str, Any]) -> ProxyState:
    known = LibraryProxy(**raw)
    toxics = tuple(_toxic(each) for each in raw.get("toxics") or ())
    http, lease = bool(raw.get("http")), str(raw.get("lease", ""))
    return ProxyState(known.name, known.listen, known.upstream, known.enabled, toxics, http, lease)


def _toxic(raw: Mapping[str, Any]) -> Toxic:
    known = LibraryToxic(**raw)
    lease = str(raw.get("lease", ""))
    return Toxic(known.name, known.type, known.stream, known.toxicity, dict(known.attributes), lease)


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


def _path(proxy: str) -> str:
    return f"/proxies/{_segment(proxy)}"


def _segment(name: str) -> str:
    """A name that Toxiproxy can address: it accepts `a/b` and `..`, but then never finds them again."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a proxy or toxic; use letters, digits, '_', '-' and '.'")
    return name


def _text(content: bytes | str) -> str:
    text = content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)
    return text.strip()[:500] or "(empty answer)"


def _refused(error: BaseException) -> bool:
    """Whether a refused connection is at the bottom of an error of requests, which wraps it four times."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ConnectionRefusedError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
