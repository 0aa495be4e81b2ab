"""What both HTTP dependencies share: an address for spans, a client, and errors in our own words.

httpx's timeouts are per phase and per chunk, so they cannot bound an attempt; each attempt has one time
limit of its own around it, and httpx keeps only the connect limit. Idle connections are given up after
2 s, well before a peer's 5 s keep-alive could end under a request.
"""

from __future__ import annotations

from dataclasses import dataclass

import httpx
from opentelemetry.util.types import AttributeValue

from rag_service.errors import (
    BadResponse,
    ConnectionBroken,
    DependencyError,
    DependencyTimeout,
    DependencyUnreachable,
)
from rag_service.segments.wire import WireTransport
from rag_service.telemetry import names

_IDLE_S = 2.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where calls go (the proxy) and what stands behind it (the dependency itself)."""

    url: str
    address: str

    def attributes(self) -> dict[str, AttributeValue]:
        """Span attributes: `server.*` is the dependency, `network.peer.*` is whom we really connect to."""
        host, _, port = self.address.rpartition(":")
        peer = httpx.URL(self.url)
        return {
            names.SERVER_ADDRESS: host,
            names.SERVER_PORT: int(port),
            names.PEER_ADDRESS: peer.host,
            names.PEER_PORT: peer.port or (443 if peer.scheme == "https" else 80),
        }


def make_client(
    endpoint: Endpoint,
    *,
    connect_s: float,
    max_connections: int,
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """A pooled client for one dependency; environment proxies are ignored on purpose."""
    if transport is None:
        secure = endpoint.url.startswith("https:")
        transport = WireTransport(
            max_connections=max_connections,
            idle_s=_IDLE_S,
            ssl_context=httpx.create_ssl_context(trust_env=False) if secure else None,
        )
    return httpx.AsyncClient(
        base_url=endpoint.url,
        timeout=httpx.Timeout(None, connect=connect_s),
        trust_env=False,
        transport=transport,
    )


def translate(dependency: str, error: httpx.HTTPError) -> DependencyError:
    """An httpx error as one of ours."""
    detail = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectTimeout):
        return DependencyTimeout(dependency, error.request.extensions["timeout"]["connect"])
    if isinstance(error, httpx.ConnectError):
        return DependencyUnreachable(dependency, detail)
    if isinstance(error, (httpx.NetworkError, httpx.RemoteProtocolError)):
        return ConnectionBroken(dependency, detail)
    return BadResponse(dependency, f"{type(error).__name__}: {detail}")
