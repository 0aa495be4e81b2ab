"""One call of a fault proxy's API: bounded as a whole, and every answer but the one expected an error.

toxiproxy-python reads the answers that it knows (400, 404, 409); a 5xx it would take for success, and what
is no JSON, or not the JSON that was expected, would be a traceback somewhere later.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, overload
from urllib.parse import urlsplit

from toxiproxy.api import validate_response
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

from chaos.control import bounded_call
from chaos.control.fault_proxy import (
    TOKEN_VARIABLE,
    FaultProxyError,
    ProxyGoneError,
    ProxyHungError,
    ProxyMissingError,
)

T = TypeVar("T")
_STATUS_OF = {ProxyExists: 409, NotFound: 404, InvalidToxic: 400}
_NOT_A_PROXY = "does something other than Toxiproxy >= 2.7 listen there?"
_UNKNOWN = "it may have been done or not; is the fault proxy stopped or overloaded? Restart it"


class FaultProxyApi:
    """The API at `api`; each call takes at most about `timeout_s`."""

    def __init__(self, api: str, timeout_s: float) -> None:
        self._host, self._port = _address(api)
        if not timeout_s > 0:
            raise ValueError(f"timeout_s={timeout_s!r} would wait for nothing; give a number above 0")
        token = os.environ.get(TOKEN_VARIABLE)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.api = api.rstrip("/")
        self.timeout_s = timeout_s

    @overload
    def _ask(self, method: str, path: str, body: Any = None) -> None: ...
    @overload
    def _ask(
        self, method: str, path: str, body: Any, read: Callable[[Any], T], timeout_s: float | None = None
    ) -> T: ...
    def _ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        read: Callable[[Any], T] | None = None,
        timeout_s: float | None = None,
    ) -> T | None:
        """What `read` makes of a 2xx answer's JSON; without it a 204. All else is an error that says so."""
        asked = f"{method} {self.api}{path}" + (f" {body}" if body is not None else "")
        timeout_s = timeout_s or self.timeout_s
        try:
            answer = validate_response(
                bounded_call.call(method, self._host, self._port, path, body, timeout_s, self._headers)
            )
        except (ProxyExists, NotFound, InvalidToxic) as refusal:
            status = _STATUS_OF[type(refusal)]
            error = ProxyMissingError if status == 404 else FaultProxyError
            raise error(asked, _said(refusal.args[0]), status=status) from None
        except ConnectionRefusedError as refused:
            advice = "nobody listens there; is the fault proxy running?"
            raise ProxyGoneError(asked, "connection refused", advice=advice) from refused
        except TimeoutError as late:
            raise ProxyHungError(asked, f"no answer within {timeout_s:g} s", advice=_UNKNOWN) from late
        except (OSError, bounded_call.HTTPException) as broken:
            said = _printable(f"the connection broke ({type(broken).__name__}: {broken})")
            raise ProxyHungError(asked, said, advice=_NOT_A_PROXY) from broken
        status, content = answer.status_code, answer.content
        if status == 503:
            raise ProxyHungError(asked, _said(content), status=status, advice=_UNKNOWN)
        if not 200 <= status < 300:
            raise FaultProxyError(asked, _said(content), status=status)
        try:
            if read is not None:
                return read(json.loads(content))
            if status == 204:
                return None
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            pass
        raise FaultProxyError(asked, _said(content), status=status, advice=_NOT_A_PROXY)


def _address(api: str) -> tuple[str, int]:
    with suppress(ValueError):
        parts = urlsplit(api)
        beyond = (parts.path.strip("/"), parts.query, parts.fragment, parts.username)
        if parts.scheme == "http" and parts.hostname and parts.port and not any(beyond):
            return parts.hostname, parts.port
    raise ValueError(f"{api!r} is not the address of a fault proxy; write http://HOST:PORT")


def _said(content: bytes) -> str:
    """What an answer says: the API's error without its wrapping, or the beginning of whatever else it is."""
    with suppress(ValueError, LookupError, TypeError, RecursionError):
        return _printable(str(json.loads(content)["error"]))
    return _printable(content.decode("utf-8", "replace")) or "(empty answer)"


def _printable(text: str) -> str:
    """Fit for one line of a terminal, whoever said it."""
    return " ".join("".join(each if each.isprintable() else " " for each in text[:500]).split())
