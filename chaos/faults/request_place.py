"""Where faults on requests go in: the requests of one dependency, which the built-in proxy reads.

Apart from the faults, because those on a model server's answers have two places: the simulator, which commits
them itself, or these requests before any other model server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaos.control.builtin_proxy import BuiltinProxy, HttpFaultSpec
from chaos.control.fault_proxy import FaultProxyError, ProxyMissingError

if TYPE_CHECKING:
    from chaos.control.controls import Controls


@dataclass(frozen=True, slots=True)
class RequestPlace:
    """One proxy's requests, and the name that a fault has or gets there."""

    client: BuiltinProxy
    proxy: str
    name: str

    @classmethod
    def at(cls, at: Controls, on: str, name: str) -> RequestPlace:
        """Raises FaultProxyError where nobody reads requests."""
        door = at.door(on)
        if door.requests is None:
            raise FaultProxyError(
                f"fault {name!r} on {on!r}",
                "only the built-in proxy reads requests, and none that does stands before it",
                advice="run it with --stack local; in a target file: put one there (listen, upstream)",
            )
        return cls(door.requests, door.name, name)

    def put(self, fault: HttpFaultSpec) -> None:
        self.client.add_http_fault(self.proxy, fault)

    def read_back(self, wanted: HttpFaultSpec) -> Mapping[str, Any]:
        """What is in, attributes and all. Raises FaultProxyError when it is another fault, or none."""
        asked = f"read back fault {self.name!r} on the requests of {self.proxy!r}"
        found = self.client.http_faults(self.proxy).get(self.name)
        if found is None:
            raise FaultProxyError(asked, "no such fault is in")
        if _told(found) != _told(wanted) or any(
            found.attributes.get(key) != value for key, value in wanted.attributes.items()
        ):
            raise FaultProxyError(asked, f"in is {found}, not {wanted}")
        attributes = {key: value for key, value in found.attributes.items() if value is not None}
        counted = {} if found.count is None else {"count": found.count}
        return {
            "http_fault": found.type,
            "path": found.path,
            "method": found.method,
            "probability": found.probability,
            **counted,
            **attributes,
        }

    def remove(self) -> Mapping[str, Any] | None:
        """On how many requests it acted; nothing where it was gone."""
        try:
            hits = self.client.http_fault_hits(self.proxy, self.name)
            self.client.remove_http_fault(self.proxy, self.name)
        except ProxyMissingError:
            return None
        return {"hits": hits}

    def is_gone(self) -> bool:
        try:
            return self.name not in self.client.http_faults(self.proxy)
        except ProxyMissingError:
            return True

    def undo(self) -> Mapping[str, Any]:
        return {
            "do": "remove_http_fault",
            "api": self.client.api,
            "proxy": self.proxy,
            "fault": self.name,
        }


def _told(fault: HttpFaultSpec) -> tuple[object, ...]:
    return fault.type, fault.path, fault.method, fault.probability, fault.count
