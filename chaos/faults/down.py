"""Down: the dependency's port is closed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from chaos.control.fault_proxy import FaultProxyError, ProxyMissingError
from chaos.faults.fault import Fault

if TYPE_CHECKING:
    from chaos.control.controls import Controls


class Down(Fault):
    """The dependency is down: its open connections are cut, new ones are refused at once.

    The kindest way to fail, since the caller learns of it immediately; if this hurts, all else will.
    Look for connection pools that keep dead connections after it is back.

        no-vector-db: {on: vector_db, kind: down}

    Looks like: connections refused or reset; the dependency itself notices nothing.
    Bit when: four in five calls of the dependency end in an error.
    Undone: the proxy listens again on the same port.
    """

    kind: Literal["down"] = "down"

    def inject(self, at: Controls, name: str) -> None:  # noqa: ARG002 - a closed port has no name
        door = at.door(self.on)
        door.proxy.set_enabled(door.name, False)

    def remove(self, at: Controls, name: str) -> None:  # noqa: ARG002
        door = at.door(self.on)
        door.proxy.set_enabled(door.name, True)

    def read_back(self, at: Controls, name: str) -> Mapping[str, Any]:
        door = at.door(self.on)
        if door.proxy.proxy(door.name).enabled:
            raise FaultProxyError(f"read back fault {name!r} on {self.on!r}", "the proxy is enabled")
        return {"enabled": False}

    def is_gone(self, at: Controls, name: str) -> bool:  # noqa: ARG002
        door = at.door(self.on)
        try:
            return door.proxy.proxy(door.name).enabled
        except ProxyMissingError:
            return True

    def undo(self, at: Controls, name: str) -> Mapping[str, Any]:  # noqa: ARG002
        door = at.door(self.on)
        return {"do": "enable", "api": door.proxy.api, "proxy": door.name}

    def expects(self) -> Mapping[str, Any] | None:
        return {"segment": self.segment, "errors": True}

    def parameters(self) -> dict[str, float | int | str]:
        return {}
