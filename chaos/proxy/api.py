"""The API as a small ASGI application: from a request to the call that answers it, and back.

Written against ASGI itself: a framework's own 404, 405 and error bodies would each have to be bent to
Toxiproxy's, whose clients match on status, content type and message. Errors are JSON sent as
`text/plain`, except for `/populate`; both are Toxiproxy's.
"""

from __future__ import annotations

import json
import logging
import posixpath
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import quote, unquote

from chaos.proxy.answers import Answer, Route, bad_body, error_json
from chaos.proxy.asked import RefusedError
from chaos.proxy.bodies import BadBodyError
from chaos.proxy.extensions import extension_routes
from chaos.proxy.gate import Gate, tell
from chaos.proxy.registry import Registry
from chaos.proxy.toxiproxy_calls import toxiproxy_routes

_MAX_BODY_BYTES = 1024 * 1024
_log = logging.getLogger(__name__)
_SLASH_IN_A_NAME = "\udc2f"  # half a surrogate pair: no text that comes in holds one

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Api:
    """The ASGI application over one registry, behind a gate."""

    def __init__(self, registry: Registry, gate: Gate | None = None) -> None:
        self._gate = gate or Gate()
        self._routes: tuple[Route, ...] = (*toxiproxy_routes(registry), *extension_routes(registry))

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the fault proxy's API speaks HTTP, not {scope['type']}")
        agent = dict(scope["headers"]).get(b"user-agent", b"")
        query = bytes(scope["query_string"])
        answer, matched = await self._route(scope, _path_of(scope), agent, query, receive)
        tell(scope, answer.status)
        headers = []
        if matched:
            headers.append((b"x-toxiproxy-request-id", secrets.token_hex(10).encode()))
        if answer.location:
            headers.append((b"location", quote(answer.location).encode()))
        body = b""
        if answer.body is not None:
            text = answer.body if isinstance(answer.body, str) else _json(answer.body)
            body = text.encode()
            headers.append((b"content-type", answer.content_type.encode()))
            if answer.status >= 400 and answer.content_type.startswith("text/plain"):
                headers.append((b"x-content-type-options", b"nosniff"))
        if answer.status != 204:
            headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _route(
        self, scope: Mapping[str, Any], path: str, agent: bytes, query: bytes, receive: Receive
    ) -> tuple[Answer, bool]:
        method: str = scope["method"]
        if (tidy := tidied(path)) != path:
            return Answer(301, location=tidy.replace(_SLASH_IN_A_NAME, "/")), False
        for pattern, methods in self._routes:
            found = pattern.fullmatch(path)
            if not found:
                continue
            if method not in methods:
                return Answer(405), False
            if agent.startswith(b"Mozilla/"):
                return _text(403, "User agent not allowed\n"), True
            try:
                self._gate.check(scope)
                body = query if method == "GET" else await _read_body(receive)
                names = (name.replace(_SLASH_IN_A_NAME, "/") for name in found.groups())
                return await methods[method](*names, body), True
            except RefusedError as refused:
                return _refusal(refused), True
            except BadBodyError as bad:
                return _refusal(bad_body(bad)), True
            except Exception as broken:
                _log.exception("%s %s failed", method, path.replace(_SLASH_IN_A_NAME, "%2F"))
                return _refusal(
                    RefusedError(f"the proxy itself failed: {broken!r}; its log has more", 500)
                ), True
        return _text(404, "404 page not found\n"), False


def _path_of(scope: Mapping[str, Any]) -> str:
    """The path, decoded, but for `%2F`: it stands for a slash in a name, which Toxiproxy cannot address."""
    raw = (
        bytes(scope.get("raw_path") or quote(scope["path"]).encode())
        .partition(b"?")[0]
        .decode("utf-8", "replace")
    )
    return "/".join(unquote(part).replace("/", _SLASH_IN_A_NAME) for part in raw.split("/"))


def tidied(path: str) -> str:
    """A path as Toxiproxy's router wants it: one slash between names, no `.` and `..`."""
    if not any(part in ("", ".", "..") for part in path[1:].split("/")[:-1]) and not path.endswith("."):
        return path
    return posixpath.normpath("/" + path.lstrip("/")) + (
        "/" if path.endswith("/") and path.strip("/") else ""
    )


async def _read_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > _MAX_BODY_BYTES:
            raise RefusedError(f"the request body is above {_MAX_BODY_BYTES} bytes", 413)
        if not message.get("more_body"):
            return body


def _refusal(refused: RefusedError) -> Answer:
    return _text(refused.status, _json(error_json(refused)) + "\n")


def _text(status: int, text: str) -> Answer:
    return Answer(status, text, "text/plain; charset=utf-8")


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
