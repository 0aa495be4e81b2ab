"""The built-in proxy's own calls, typed: faults on requests, leases, evidence.

It speaks Toxiproxy's API as well, so its client is Toxiproxy's with more to it, and with the same errors.
Toxiproxy ignores what it does not know: asked for a fault on requests it would say 404, and of a lease it
would say nothing. So the first call of this kind asks who is there, and a Toxiproxy is an error that says
what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from chaos.fault_proxy import FaultProxyError, ProxyState
from chaos.proxy.evidence import Page, Record, Strike
from chaos.proxy.http.faults import HttpFaultSpec
from chaos.proxy.leases import Lease
from chaos.toxiproxy import USE_BUILTIN, Toxiproxy

__all__ = ["BuiltinProxy", "HttpFaultSpec", "Lease", "Page", "Record", "Strike"]

_MARK = "ragquake-builtin"


class BuiltinProxy(Toxiproxy):
    """One built-in proxy at `api`; each call takes at most about `timeout_s`."""

    def __init__(self, api: str, timeout_s: float = 5.0, lease: str = "") -> None:
        super().__init__(api, timeout_s, lease)
        self._is_known = False

    def http_faults(self, proxy: str) -> dict[str, HttpFaultSpec]:
        """The faults on one proxy's requests, by name, in the order in which they strike."""
        return {raw["name"]: _spec(raw) for raw in self._ask_own("get", _faults_of(proxy))}

    def add_http_fault(self, proxy: str, fault: HttpFaultSpec) -> HttpFaultSpec:
        """Add a fault, read it back and compare; its attributes come back in full."""
        fault = replace(fault, lease=fault.lease or self.lease or None)
        path = _faults_of(proxy)
        self._ask_own("post", path, fault.as_json())
        found = _spec(self._ask_own("get", f"{path}/{_quoted(fault.name)}"))
        wanted, got = fault.as_json(), found.as_json()
        given, kept = wanted.pop("attributes"), got.pop("attributes")
        missing = {key: value for key, value in given.items() if kept.get(key) != value}
        if wanted != got or missing:
            self.remove_http_fault(proxy, fault.name)
            asked = f"add http fault {fault.name!r} to {proxy!r}"
            raise FaultProxyError(asked, f"it reads back as {found}, not {fault}")
        return found

    def http_fault_hits(self, proxy: str, name: str) -> int:
        """On how many requests a fault has acted so far."""
        return int(self._ask_own("get", f"{_faults_of(proxy)}/{_quoted(name)}")["hits"])

    def remove_http_fault(self, proxy: str, name: str) -> None:
        """Remove a fault; what it holds back goes on."""
        self._ask_own("delete", f"{_faults_of(proxy)}/{_quoted(name)}")

    def disable(self, proxy: str, lease: str) -> ProxyState:
        """Close a proxy's port until somebody opens it or the lease ends. Read back."""
        self._ask_own("post", f"/proxies/{_quoted(proxy)}", {"enabled": False, "lease": lease})
        state = self.proxy(proxy)
        if state.enabled:
            raise FaultProxyError(f"disable {proxy!r}", "it reads back enabled")
        return state

    def put_lease(self, name: str, ttl_s: float) -> Lease:
        """Make a lease or renew it; one that is not `renewed` had ended, or never was."""
        return _lease(self._ask_own("put", f"/leases/{_quoted(name)}", {"ttl_s": ttl_s}))

    def leases(self) -> dict[str, Lease]:
        """Every lease that is held, by name."""
        return {raw["name"]: _lease(raw) for raw in self._ask_own("get", "/leases")}

    def end_lease(self, name: str) -> None:
        """End a lease; what hangs on it is undone when this returns."""
        self._ask_own("delete", f"/leases/{_quoted(name)}")

    def evidence(self, after: int = 0, limit: int = 1_000) -> Page:
        """What faults did, oldest first: at most `limit` records numbered above `after`."""
        raw = self._ask_own("get", f"/evidence?after={after}&limit={limit}")
        return Page(tuple(_record(each) for each in raw["records"]), raw["dropped"], raw["began_s"])

    def _ask_own(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """A call that only the built-in proxy answers, once it is known to be one."""
        if not self._is_known:
            version = self.version()
            if _MARK not in version:
                raise FaultProxyError(
                    f"{method.upper()} {self.api}{path}",
                    f"Toxiproxy {version} listens there, which has no faults on requests, leases or evidence",
                    advice=USE_BUILTIN,
                )
            self._is_known = True
        return self._ask(method, path, body)


def _faults_of(proxy: str) -> str:
    return f"/proxies/{_quoted(proxy)}/http_faults"


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _spec(raw: Mapping[str, Any]) -> HttpFaultSpec:
    return HttpFaultSpec(**{key: value for key, value in raw.items() if key != "hits"})


def _lease(raw: Mapping[str, Any]) -> Lease:
    return Lease(raw["name"], raw["ttl_s"], raw["ends_in_s"], raw.get("renewed", True))


def _record(raw: Mapping[str, Any]) -> Record:
    return Record(**{**raw, "faults": tuple(Strike(**each) for each in raw["faults"])})
