"""Toxiproxy's HTTP API v2 as a small ASGI application.

Written against ASGI itself: a framework's own 404, 405 and error bodies would each have to be bent to
Toxiproxy's, whose clients match on status, content type and message. Errors are JSON sent as
`text/plain`, except for `/populate`; both are Toxiproxy's.
"""

from __future__ import annotations

import json
import logging
import posixpath
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote

from chaos.fault_proxy import ProxyState, Toxic
from chaos.proxy.answers import Answer, Route
from chaos.proxy.asked import ProxyInput, RefusedError
from chaos.proxy.bodies import BadBodyError, Field, decode, kind, read_attributes, read_object
from chaos.proxy.extensions import extension_routes
from chaos.proxy.registry import Registry
from chaos.proxy.toxics import stage_kinds

VERSION = "2.12.0-ragquake-builtin"

_MAX_BODY_BYTES = 1024 * 1024
_PROXY = (
    Field("name", str, ""),
    Field("listen", str, ""),
    Field("upstream", str, ""),
    Field("enabled", bool),
    Field("http", bool, False),
    Field("lease", str, ""),
)
_TOXIC = (
    Field("type", str, ""),
    Field("name", str, ""),
    Field("stream", str, "downstream"),
    Field("toxicity", float, 1.0),
    Field("attributes", dict),
    Field("lease", str, ""),
)

# Structs without a name: Go shows what they are made of.
_TOXIC_UPDATE = (
    r'struct { Attributes interface {} "json:\"attributes\""; Toxicity float32 "json:\"toxicity\"" }'
)
_POPULATED = r'struct { toxiproxy.Proxy; Enabled *bool "json:\"enabled\"" }'
_POPULATED_PROXY = tuple(
    replace(field, path=".enabled" if field.key == "enabled" else f".Proxy.{field.key}") for field in _PROXY
)

_log = logging.getLogger(__name__)
_SLASH_IN_A_NAME = "\udc2f"  # half a surrogate pair: no text that comes in holds one

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Api:
    """The ASGI application over one registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._routes: tuple[Route, ...] = (
            (re.compile(r"/version"), {"GET": self._version}),
            (re.compile(r"/proxies"), {"GET": self._proxies, "POST": self._create}),
            (re.compile(r"/populate"), {"POST": self._populate}),
            (re.compile(r"/reset"), {"POST": self._reset}),
            (
                re.compile(r"/proxies/([^/]+)"),
                {"GET": self._proxy, "POST": self._update, "PATCH": self._update, "DELETE": self._delete},
            ),
            (re.compile(r"/proxies/([^/]+)/toxics"), {"GET": self._toxics, "POST": self._add_toxic}),
            (
                re.compile(r"/proxies/([^/]+)/toxics/([^/]+)"),
                {
                    "GET": self._toxic,
                    "POST": self._update_toxic,
                    "PATCH": self._update_toxic,
                    "DELETE": self._remove_toxic,
                },
            ),
            *extension_routes(registry),
        )

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the fault proxy's API speaks HTTP, not {scope['type']}")
        agent = dict(scope["headers"]).get(b"user-agent", b"")
        query = bytes(scope["query_string"])
        answer, matched = await self._route(scope["method"], _path_of(scope), agent, query, receive)
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
        self, method: str, path: str, agent: bytes, query: bytes, receive: Receive
    ) -> tuple[Answer, bool]:
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
                body = query if method == "GET" else await _read_body(receive)
                names = (name.replace(_SLASH_IN_A_NAME, "/") for name in found.groups())
                return await methods[method](*names, body), True
            except RefusedError as refused:
                return _text(refused.status, _json(_error(refused)) + "\n"), True
            except BadBodyError as bad:
                return _text(400, _json(_error(_bad_body(bad))) + "\n"), True
            except Exception as broken:
                _log.exception("%s %s failed", method, path.replace(_SLASH_IN_A_NAME, "%2F"))
                failed = RefusedError(f"the proxy itself failed: {broken!r}; its log has more", 500)
                return _text(500, _json(_error(failed)) + "\n"), True
        return _text(404, "404 page not found\n"), False

    async def _version(self, _: bytes) -> Answer:
        return Answer(200, f'{{"version": "{VERSION}"}}\n', "application/json;charset=utf-8")

    async def _proxies(self, _: bytes) -> Answer:
        return Answer(200, {state.name: _proxy_json(state) for state in self._registry.states()})

    async def _create(self, body: bytes) -> Answer:
        return Answer(201, _proxy_json(await self._registry.create(_proxy_input(decode(body)))))

    async def _populate(self, body: bytes) -> Answer:
        try:
            value = decode(body)
            if value is not None and not isinstance(value, list):
                raise BadBodyError(
                    f"json: cannot unmarshal {kind(value)} into Go value of type []{_POPULATED}"
                )
            wanted = [_proxy_input(each, _POPULATED, _POPULATED_PROXY) for each in value or ()]
        except BadBodyError as bad:
            return Answer(400, {**_error(_bad_body(bad)), "proxies": None})
        done = await self._registry.populate(wanted)
        proxies = [_proxy_json(state) for state in done.proxies] or None
        if done.refused is not None:
            return Answer(done.refused.status, {**_error(done.refused), "proxies": proxies})
        return Answer(201, {"proxies": proxies})

    async def _reset(self, _: bytes) -> Answer:
        await self._registry.reset()
        return Answer(204)

    async def _proxy(self, name: str, _: bytes) -> Answer:
        return Answer(200, _proxy_json(self._registry.state(name)))

    async def _update(self, name: str, body: bytes) -> Answer:
        self._registry.state(name)
        fields = (
            Field("name", str),
            Field("listen", str),
            Field("upstream", str),
            Field("enabled", bool),
            Field("lease", str, ""),
        )
        asked = read_object(decode(body), "toxiproxy.Proxy", fields)
        del asked["name"]
        return Answer(200, _proxy_json(await self._registry.update(name, **asked)))

    async def _delete(self, name: str, _: bytes) -> Answer:
        await self._registry.delete(name)
        return Answer(204)

    async def _toxics(self, proxy: str, _: bytes) -> Answer:
        return Answer(200, [_toxic_json(toxic) for toxic in self._registry.state(proxy).toxics])

    async def _toxic(self, proxy: str, name: str, _: bytes) -> Answer:
        return Answer(200, _toxic_json(self._registry.toxic(proxy, name)))

    async def _add_toxic(self, proxy: str, body: bytes) -> Answer:
        self._registry.state(proxy)
        asked = read_object(decode(body), "toxics.ToxicWrapper", _TOXIC)
        if asked["stream"].lower() not in ("upstream", "downstream"):
            raise RefusedError("stream was invalid, can be either upstream or downstream", 400)
        if asked["type"] not in stage_kinds():
            raise RefusedError("invalid toxic type", 400)
        name = asked["name"] or f"{asked['type']}_{asked['stream']}"
        toxic = Toxic(name, asked["type"], asked["stream"], asked["toxicity"], {}, asked["lease"])
        if any(known.name == name for known in self._registry.state(proxy).toxics):
            raise RefusedError("toxic already exists", 409)
        attributes = _attributes(asked["attributes"], toxic.type)
        return Answer(200, _toxic_json(await self._registry.add_toxic(proxy, toxic, attributes)))

    async def _update_toxic(self, proxy: str, name: str, body: bytes) -> Answer:
        now = self._registry.toxic(proxy, name)
        fields = (
            Field("attributes", dict, path=".attributes"),
            Field("toxicity", float, now.toxicity, ".toxicity"),
        )
        asked = read_object(decode(body), _TOXIC_UPDATE, fields)
        attributes = _attributes(asked["attributes"], now.type)
        changed = await self._registry.update_toxic(proxy, name, asked["toxicity"], attributes)
        return Answer(200, _toxic_json(changed))

    async def _remove_toxic(self, proxy: str, name: str, _: bytes) -> Answer:
        await self._registry.remove_toxic(proxy, name)
        return Answer(204)


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


def _proxy_input(
    value: Any, struct: str = "toxiproxy.Proxy", fields: tuple[Field, ...] = _PROXY
) -> ProxyInput:
    asked = read_object(value, struct, fields)
    enabled = asked["enabled"] is not False
    return ProxyInput(
        asked["name"], asked["listen"], asked["upstream"], enabled, asked["http"], asked["lease"]
    )


def _proxy_json(state: ProxyState) -> dict[str, Any]:
    return {
        "name": state.name,
        "listen": state.listen,
        "upstream": state.upstream,
        "enabled": state.enabled,
        "Logger": {},
        "toxics": [_toxic_json(toxic) for toxic in state.toxics],
        **({"http": True} if state.http else {}),
        **({"lease": state.lease} if state.lease else {}),
    }


def _toxic_json(toxic: Toxic) -> dict[str, Any]:
    toxicity = int(toxic.toxicity) if toxic.toxicity == int(toxic.toxicity) else toxic.toxicity
    return {
        "attributes": dict(toxic.attributes),
        "name": toxic.name,
        "type": toxic.type,
        "stream": toxic.stream,
        "toxicity": toxicity,
        **({"lease": toxic.lease} if toxic.lease else {}),
    }


def _error(refused: RefusedError) -> dict[str, Any]:
    return {"error": refused.message, "status": refused.status}


def _bad_body(bad: BadBodyError) -> RefusedError:
    return RefusedError(f"bad request body: {bad}", 400)


def _attributes(asked: Mapping[str, Any] | None, toxic_type: str) -> Mapping[str, Any]:
    struct = "".join(part.capitalize() for part in toxic_type.split("_")) + "Toxic"
    return read_attributes(asked or {}, struct, stage_kinds()[toxic_type].defaults)


def _text(status: int, text: str) -> Answer:
    return Answer(status, text, "text/plain; charset=utf-8")


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
