"""The built-in proxy's own calls, typed: faults on requests, leases, evidence.

It speaks Toxiproxy's API as well, so its client is Toxiproxy's with more to it, and with the same errors.
Toxiproxy ignores what it does not know: asked for a fault on requests it would say 404, and of a lease it
would say nothing. So the first call of this kind asks who is there, and a Toxiproxy is an error that says
what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote

from chaos.control.fault_proxy import USE_BUILTIN, FaultProxyError, ProxyState
from chaos.control.toxiproxy import Toxiproxy
from chaos.proxy.evidence import Page, Record, Strike
from chaos.proxy.http.faults import HttpFaultSpec
from chaos.proxy.leases import Lease

__all__ = ["BuiltinProxy", "HttpFaultSpec", "Lease", "Page", "Record", "Strike"]

T = TypeVar("T")
_MARK = "ragquake-builtin"
_PAGE = 2_000


class BuiltinProxy(Toxiproxy):
    """One built-in proxy at `api`; each call takes at most about `timeout_s`."""

    def __init__(self, api: str, timeout_s: float = 5.0, lease: str = "") -> None:
        super().__init__(api, timeout_s, lease)
        self._is_known = False
        self._newest = 0
        self._watched: dict[tuple[str, str], tuple[int, float]] = {}

    def http_faults(self, proxy: str) -> dict[str, HttpFaultSpec]:
        """The faults on one proxy's requests, by name, in the order in which they strike."""
        return self._ask_own(
            "GET", _faults_of(proxy), None, lambda raw: {each["name"]: _spec(each) for each in raw}
        )

    def add_http_fault(self, proxy: str, fault: HttpFaultSpec) -> HttpFaultSpec:
        """Add a fault, read it back and compare; its attributes come back in full."""
        fault = replace(fault, lease=fault.lease or self.lease or None)
        path = _faults_of(proxy)
        self._ask_own("POST", path, fault.as_json(), _spec)
        found = self._ask_own("GET", f"{path}/{_quoted(fault.name)}", None, _spec)
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
        path = f"{_faults_of(proxy)}/{_quoted(name)}"
        return self._ask_own("GET", path, None, lambda raw: int(raw["hits"]))

    def remove_http_fault(self, proxy: str, name: str) -> None:
        """Remove a fault; what it holds back goes on. Read back."""
        path = f"{_faults_of(proxy)}/{_quoted(name)}"
        self._require_builtin(path)
        self._delete(path)

    def disable(self, proxy: str, lease: str) -> ProxyState:
        """Close a proxy's port until somebody opens it or the lease ends. Read back."""
        self._ask_own("POST", f"/proxies/{_quoted(proxy)}", {"enabled": False, "lease": lease}, dict)
        state = self.proxy(proxy)
        if state.enabled:
            raise FaultProxyError(f"disable {proxy!r}", "it reads back enabled")
        return state

    def put_lease(self, name: str, ttl_s: float) -> Lease:
        """Make a lease or renew it; one that is not `renewed` had ended, or never was."""
        return self._ask_own("PUT", f"/leases/{_quoted(name)}", {"ttl_s": ttl_s}, _lease)

    def leases(self) -> dict[str, Lease]:
        """Every lease that is held, by name."""
        return self._ask_own("GET", "/leases", None, lambda raw: {each["name"]: _lease(each) for each in raw})

    def end_lease(self, name: str) -> None:
        """End a lease; what hangs on it is undone when this returns."""
        self._require_builtin(path := f"/leases/{_quoted(name)}")
        self._ask("DELETE", path)

    def evidence(self, after: int = 0, limit: int = 1_000) -> Page:
        """What faults did, oldest first: at most `limit` records numbered above `after`."""
        return self._ask_own("GET", f"/evidence?after={after}&limit={limit}", None, _page)

    def watch(self, proxy: str, toxic: str) -> None:
        """Count what a toxic does from now on, for `strikes`."""
        began_s = [page.began_s for page in self._pages(self._newest)][-1]
        self._watched[proxy, toxic] = (self._newest, began_s)

    def strikes(self, proxy: str, toxic: str) -> tuple[Strike, ...] | None:
        """What a watched toxic did, once for each connection; `None` where the evidence is short of it."""
        if (proxy, toxic) not in self._watched:
            return None
        after, since_s = self._watched[proxy, toxic]
        pages = list(self._pages(after))
        found = tuple(
            strike
            for page in pages
            for record in page.records
            for strike in record.faults
            if (record.proxy, record.request, strike.name) == (proxy, None, toxic)
        )
        is_whole = all(page.began_s == since_s and not page.dropped for page in pages)
        return found if found or is_whole else None

    def _pages(self, after: int) -> Iterator[Page]:
        """All evidence numbered above `after`; the last page is not full."""
        while True:
            page = self.evidence(after, _PAGE)
            after = page.records[-1].seq if page.records else after
            self._newest = after
            yield page
            if len(page.records) < _PAGE:
                return

    def _ask_own(self, method: str, path: str, body: Any, read: Callable[[Any], T]) -> T:
        """A call that only the built-in proxy answers, once it is known to be one."""
        self._require_builtin(path)
        return self._ask(method, path, body, read)

    def _require_builtin(self, path: str) -> None:
        if self._is_known:
            return
        version = self.version()
        if _MARK not in version:
            raise FaultProxyError(
                f"{self.api}{path}",
                f"Toxiproxy {version} listens there, which has no faults on requests, leases or evidence",
                advice=USE_BUILTIN,
            )
        self._is_known = True


def _faults_of(proxy: str) -> str:
    return f"/proxies/{_quoted(proxy)}/http_faults"


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _spec(raw: Mapping[str, Any]) -> HttpFaultSpec:
    return HttpFaultSpec(**{key: value for key, value in raw.items() if key != "hits"})


def _lease(raw: Mapping[str, Any]) -> Lease:
    return Lease(raw["name"], raw["ttl_s"], raw["ends_in_s"], raw.get("renewed", True))


def _page(raw: Mapping[str, Any]) -> Page:
    return Page(tuple(_record(each) for each in raw["records"]), raw["dropped"], raw["began_s"])


def _record(raw: Mapping[str, Any]) -> Record:
    return Record(**{**raw, "faults": tuple(Strike(**each) for each in raw["faults"])})
