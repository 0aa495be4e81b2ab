"""Who may use the API: whoever reaches it can open ports and cut connections.

On loopback that is every process of this machine, as with Toxiproxy, but no web page: a page that names its
own host 127.0.0.1 (DNS rebinding) comes from loopback, too, and is known by the `Host` and `Origin` that its
browser sends. Anywhere else every caller presents a token. Who changed what goes to the log.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from chaos.control.fault_proxy import TOKEN_VARIABLE
from chaos.proxy.asked import RefusedError
from chaos.safety.notations import is_loopback

LEAST_TOKEN = 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gate:
    """What is asked of each request; without a token the API listens on loopback alone."""

    token: str | None = None

    def check(self, scope: Mapping[str, Any]) -> None:
        """Raises RefusedError 401 or 403 for a caller who may not."""
        headers = dict(scope["headers"])
        host, origin = headers.get(b"host"), headers.get(b"origin")
        named = _host(b"//" + host) if host is not None else None
        if origin is not None and (_host(origin) != named or not (self.token or is_loopback(named or ""))):
            raise RefusedError(f"the request comes from a page of {_shown(origin)}, which may not", 403)
        if self.token is not None:
            if scope["method"] == "GET" and scope["path"] == "/version":
                return  # whoever waits for the proxy asks for it
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(given, self.token.encode()):
                raise RefusedError(f"send the token of ${TOKEN_VARIABLE} as Authorization: Bearer TOKEN", 401)
        elif named is not None and not is_loopback(named):
            raise RefusedError(
                f"the Host header names {_shown(host or b'')}; a proxy without a token is called by "
                f"localhost, 127.0.0.1 or ::1",
                403,
            )


def tell(scope: Mapping[str, Any], status: int) -> None:
    """Log who changed what, or tried to; what only looks, or renews a lease, is not worth a line."""
    method, path = scope["method"], scope["path"]
    if status < 400 and (method in ("GET", "HEAD") or (method == "PUT" and path.startswith("/leases/"))):
        return
    client = scope.get("client")
    who = f"{client[0]}:{client[1]}" if client else "somebody"
    _log.info("%s: %s %s: %d", who, method, _shown(path.encode("utf-8", "replace")), status)


def _host(url: bytes) -> str:
    """The host of an address; nothing where it is none, such as `null` or `[::1`."""
    try:
        return urlsplit(url.decode("latin-1")).hostname or ""
    except ValueError:
        return ""


def _shown(text: bytes) -> str:
    """Fit for one line, whoever sent it."""
    return "".join(each if each.isprintable() else "?" for each in text[:200].decode("utf-8", "replace"))
