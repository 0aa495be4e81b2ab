"""The simulator's own faults, told to it over its control surface (`/admin/faults/NAME`).

A fault proxy works on bytes and connections; what a model server itself does wrong (it says 429, gives an
answer up, falls silent behind a living connection) only a model server can show. The simulator counts on how
many answers each fault acted, which is how a run knows that it bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests

from chaos.fault_proxy import FaultProxyError

TIMEOUT_S = 5.0


class SimulatorError(FaultProxyError):
    """The simulator did not do what was asked."""

    who = "simulator"


class SimulatorGoneError(SimulatorError):
    """Nobody listens at its address: the process is gone, and its faults with it."""


class SimulatorFaults:
    """The faults of the simulator at `HOST:PORT`, its own address and not that of the proxy before it."""

    def __init__(self, address: str, timeout_s: float = TIMEOUT_S) -> None:
        if not address or "/" in address:
            raise ValueError(f"{address!r} is not the address of a simulator; write HOST:PORT")
        self.address = address
        self.timeout_s = timeout_s

    def put(self, name: str, fault: Mapping[str, Any]) -> Mapping[str, Any]:
        """Put a fault in, beside the others; what the simulator now has. Raises SimulatorError."""
        return self._call("PUT", name, dict(fault))

    def get(self, name: str) -> Mapping[str, Any] | None:
        """The fault of that name with its `hits`, or nothing. Raises SimulatorError."""
        try:
            return self._call("GET", name)
        except _Missing:
            return None

    def remove(self, name: str) -> Mapping[str, Any] | None:
        """Take a fault out; what it was, or nothing where it was gone. Raises SimulatorError."""
        try:
            return self._call("DELETE", name)
        except _Missing:
            return None

    def _call(self, method: str, name: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        url = f"http://{self.address}/admin/faults/{name}"
        asked = f"{method} {url}"
        try:
            with requests.Session() as session:
                session.trust_env = False  # a proxy of the machine's has nothing to do with it
                answer = session.request(method, url, json=body, timeout=self.timeout_s)
        except requests.ConnectionError as error:
            raise SimulatorGoneError(asked, f"nobody answers there ({type(error).__name__})") from error
        except requests.RequestException as error:
            raise SimulatorError(asked, f"no answer within {self.timeout_s:g} s") from error
        try:
            said = answer.json()
        except ValueError:
            said = None
        if answer.status_code == 404:
            raise _Missing(asked, _message(said) or answer.text[:200], status=404)
        if answer.status_code != 200 or not isinstance(said, dict):
            raise SimulatorError(asked, _message(said) or answer.text[:200], status=answer.status_code)
        return said


class _Missing(SimulatorError):
    """No fault of that name."""


def _message(said: object) -> str:
    error = said.get("error") if isinstance(said, dict) else None
    return str(error.get("message", "")) if isinstance(error, dict) else ""
