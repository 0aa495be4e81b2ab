"""What both HTTP dependencies share: an address for spans, a client, and errors in our own words.

httpx's timeouts are per phase and per chunk, so they cannot bound an attempt; each attempt has one time
limit of its own around it, and httpx keeps only the connect limit. Idle connections are given up after
2 s, well before a peer's 5 s keep-alive could end under a request. Each call tells the dependency its span:
what a proxy or a model server writes down about it can then be joined to the trace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
from opentelemetry.util.types import AttributeValue
from pydantic_core import to_json

from rag_service.errors import (
    BadResponse,
    ConnectionBroken,
    DependencyError,
    DependencyTimeout,
    DependencyUnreachable,
)
from rag_service.segments.wire import WireTransport
from rag_service.telemetry import names
from rag_service.telemetry.tracing import trace_parent

_IDLE_S = 2.0
_HEADERS = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "ragquake"}


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


class DependencyClient(httpx.AsyncClient):
    """httpx's client without what a call to one fixed dependency has no use for.

    Cookies, authentication, redirects and merging URLs took a third of a call. Requests, responses, errors
    and transports stay httpx's own, and so does everything that is not overridden here.
    """

    def __init__(self, base_url: str, *, connect_s: float, transport: httpx.AsyncBaseTransport) -> None:
        super().__init__(base_url=base_url, trust_env=False, transport=transport)
        self._to_dependency = transport
        self._urls: dict[str, httpx.URL] = {}
        self._timeouts = {"timeout": httpx.Timeout(None, connect=connect_s).as_dict()}

    def build_request(self, method: str, url: httpx.URL | str, **more: Any) -> httpx.Request:
        """A request to a path below the base URL, with a JSON body or none."""
        content, extensions = b"", self._timeouts
        if isinstance(limit_s := more.get("timeout"), float):
            extensions = {"timeout": httpx.Timeout(limit_s).as_dict()}
        headers = trace_parent() | dict(more.get("headers") or {})
        if (body := more.get("json")) is not None:
            content = to_json(body)
            headers["content-type"] = "application/json"
        return httpx.Request(
            method,
            self._url(str(url)),
            headers=_HEADERS | headers,
            content=content,
            extensions=extensions,
        )

    async def send(self, request: httpx.Request, *, stream: bool = False, **_: Any) -> httpx.Response:
        """The response, with its body unless `stream`. Raises httpx.TransportError."""
        try:
            response = await self._to_dependency.handle_async_request(request)
        except httpx.RequestError as error:
            error.request = request
            raise
        response.request = request
        if not stream:
            try:
                await response.aread()
            except BaseException:
                await response.aclose()
                raise
        return response

    def _url(self, path: str) -> httpx.URL:
        known = self._urls.get(path)
        if known is None:
            known = self._urls[path] = self._merge_url(path)
        return known


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
    return DependencyClient(endpoint.url, connect_s=connect_s, transport=transport)


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
