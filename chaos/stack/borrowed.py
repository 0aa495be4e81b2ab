"""Our two proxies on a Toxiproxy that somebody else runs (`TOXIPROXY_URL`).

There the stack may neither stop the server nor touch proxies of other people, yet a killed run leaves
two of its own behind. They are recognised by a note in `.ragquake/`, written before they are made: a
proxy is a leftover of ours when the note names exactly its listen and upstream addresses and nothing
answers at that upstream any more. Whatever else has the name is refused, not replaced.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from chaos.control.fault_proxy import ProxyMissingError, ProxyState
from chaos.control.toxiproxy import Toxiproxy
from chaos.stack.description import StackDescription
from chaos.stack.errors import ProxyUnavailable

NOTE_NAME = "borrowed-proxies.json"
PROBE_TIMEOUT_S = 0.5


class BorrowedProxies:
    """The note of the proxies that this project made on other people's Toxiproxy servers."""

    def __init__(self, home: Path) -> None:
        self._path = home / NOTE_NAME

    def make_room(self, toxiproxy: Toxiproxy, names: tuple[str, ...]) -> None:
        """Delete our leftovers of these names. Raises ProxyUnavailable when a name belongs to others."""
        taken = toxiproxy.proxies()
        for name in names:
            if name not in taken:
                continue
            found = taken[name]
            if not self._is_leftover(toxiproxy.api, found):
                raise ProxyUnavailable(
                    f"the Toxiproxy at {toxiproxy.api} already has a proxy {name!r} ({found.listen} to "
                    f"{found.upstream}) that is not a leftover of an ended run of this project; "
                    f"delete it (toxiproxy-cli delete {name}) if nobody needs it, or unset TOXIPROXY_URL"
                )
            toxiproxy.delete_proxy(name)

    def remember(self, api: str, name: str, listen: str, upstream: str) -> None:
        """Note a proxy that is about to be made."""
        noted = self._read()
        noted[f"{api} {name}"] = f"{listen} {upstream}"
        self._write(noted)

    def _is_leftover(self, api: str, proxy: ProxyState) -> bool:
        ours = self._read().get(f"{api} {proxy.name}") == f"{proxy.listen} {proxy.upstream}"
        return ours and not _answers(proxy.upstream)

    def _read(self) -> dict[str, str]:
        try:
            noted = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return noted if isinstance(noted, dict) else {}

    def _write(self, noted: dict[str, str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(f"{NOTE_NAME}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(noted, indent=1) + "\n", encoding="utf-8")
        temporary.replace(self._path)


def delete_borrowed(description: StackDescription) -> list[str]:
    """Delete the proxies that a stack made on a server which it does not own; returns their names.

    Raises chaos.control.fault_proxy.FaultProxyError when the server refuses or does not answer.
    """
    if description.proxy is None or description.proxy.owned:
        return []
    toxiproxy = Toxiproxy(description.proxy.api)
    deleted = []
    for name, dependency in description.dependencies.items():
        try:
            found = toxiproxy.proxy(dependency.proxy)
        except ProxyMissingError:
            continue
        if (found.listen, found.upstream) == (dependency.listen, dependency.next):
            toxiproxy.delete_proxy(dependency.proxy)
            deleted.append(name)
    return deleted


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_TIMEOUT_S):
            return True
    except (OSError, ValueError):
        return False
