"""Down: the dependency's port is closed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from chaos.fault_proxy import FaultProxyError, ProxyMissingError
from chaos.faults.fault import Fault
from chaos.toxiproxy import Toxiproxy


class Down(Fault):
    """The dependency is down: its open connections are cut, new ones are refused at once.

    The kindest way to fail, since the caller learns of it immediately; if this hurts, all else will.
    Look for connection pools that keep dead connections after it is back.

        no-vector-db: {on: vector_db, kind: down}
    """

    kind: Literal["down"] = "down"

    def inject(self, proxy: Toxiproxy, name: str) -> None:  # noqa: ARG002 - a closed port has no name
        proxy.set_enabled(self.on, False)

    def remove(self, proxy: Toxiproxy, name: str) -> None:  # noqa: ARG002
        proxy.set_enabled(self.on, True)

    def read_back(self, proxy: Toxiproxy, name: str) -> Mapping[str, Any]:
        if proxy.proxy(self.on).enabled:
            raise FaultProxyError(f"read back fault {name!r} on {self.on!r}", "the proxy is enabled")
        return {"enabled": False}

    def is_gone(self, proxy: Toxiproxy, name: str) -> bool:  # noqa: ARG002
        try:
            return proxy.proxy(self.on).enabled
        except ProxyMissingError:
            return True

    def undo(self, api: str, name: str) -> Mapping[str, Any]:  # noqa: ARG002
        return {"do": "enable", "api": api, "proxy": self.on}

    def expects(self) -> Mapping[str, Any] | None:
        return {"segment": self.segment, "errors": True}

    def parameters(self) -> dict[str, float | int | str]:
        return {}
