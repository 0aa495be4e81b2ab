"""The simulator's own faults, told to it over its control surface (`/admin/faults/NAME`).

A fault proxy works on bytes and connections; what a model server itself does wrong (it says 429, gives an
answer up, falls silent behind a living connection) only a model server can show. The simulator counts on how
many answers each fault acted, which is how a run knows that it bit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from chaos.control import bounded_call
from chaos.control.fault_proxy import FaultProxyError

TIMEOUT_S = 5.0
_UNKNOWN = "it may have been done or not; is the model server's simulator stopped or overloaded?"


class SimulatorError(FaultProxyError):
    """The simulator did not do what was asked."""

    who = "simulator"


class SimulatorGoneError(SimulatorError):
    """Nobody listens at its address: the process is gone, and its faults with it.

    Not that a connection broke or timed out: then the process may live, and its faults act.
    """


class SimulatorFaults:
    """The faults of the simulator at `HOST:PORT`, its own address and not that of the proxy before it."""

    def __init__(self, address: str, timeout_s: float = TIMEOUT_S) -> None:
        self._host, self._port = _parts(address)
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
        path = f"/admin/faults/{quote(name, safe='')}"
        asked = f"{method} http://{self.address}{path}"
        try:
            answer = bounded_call.call(method, self._host, self._port, path, body, self.timeout_s)
        except ConnectionRefusedError as error:
            raise SimulatorGoneError(asked, "nobody listens there") from error
        except TimeoutError as error:
            raise SimulatorError(asked, f"no answer within {self.timeout_s:g} s", advice=_UNKNOWN) from error
        except (OSError, bounded_call.HTTPException) as error:
            broke = f"the connection broke ({type(error).__name__})"
            raise SimulatorError(asked, broke, advice=_UNKNOWN) from error
        try:
            said = json.loads(answer.content)
        except (ValueError, RecursionError):
            said = None
        text = _message(said) or answer.content.decode("utf-8", "replace")[:200]
        if answer.status_code == 404:
            raise _Missing(asked, text, status=404)
        if answer.status_code != 200 or not isinstance(said, dict):
            raise SimulatorError(asked, text, status=answer.status_code)
        return said


class _Missing(SimulatorError):
    """No fault of that name."""


def _parts(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"http://{address}")
        if parts.netloc == address and parts.username is None and parts.hostname and parts.port:
            return parts.hostname, parts.port
    except ValueError:
        pass
    raise ValueError(f"{address!r} is not the address of a simulator; write HOST:PORT")


def _message(said: object) -> str:
    error = said.get("error") if isinstance(said, dict) else None
    return str(error.get("message", "")) if isinstance(error, dict) else ""
