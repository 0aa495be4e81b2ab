"""Toxiproxy's calls: what each reads from its body, and what it answers.

Order matters: of several things that are wrong with a request Toxiproxy names the first it looks at, and its
clients match on that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chaos.control.fault_proxy import ProxyState, Toxic
from chaos.proxy.answers import Answer, Route, bad_body, error_json
from chaos.proxy.asked import ProxyInput, RefusedError
from chaos.proxy.bodies import BadBodyError, Field, decode, kind, read_attributes, read_object
from chaos.proxy.registry import Registry
from chaos.proxy.toxics import stage_kinds

VERSION = "2.12.0-ragquake-builtin"

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


def toxiproxy_routes(registry: Registry) -> tuple[Route, ...]:
    """All of them, over one registry."""
    calls = _Calls(registry)
    return (
        (re.compile(r"/version"), {"GET": calls.version}),
        (re.compile(r"/proxies"), {"GET": calls.proxies, "POST": calls.create}),
        (re.compile(r"/populate"), {"POST": calls.populate}),
        (re.compile(r"/reset"), {"POST": calls.reset}),
        (
            re.compile(r"/proxies/([^/]+)"),
            {"GET": calls.proxy, "POST": calls.update, "PATCH": calls.update, "DELETE": calls.delete},
        ),
        (re.compile(r"/proxies/([^/]+)/toxics"), {"GET": calls.toxics, "POST": calls.add_toxic}),
        (
            re.compile(r"/proxies/([^/]+)/toxics/([^/]+)"),
            {
                "GET": calls.toxic,
                "POST": calls.update_toxic,
                "PATCH": calls.update_toxic,
                "DELETE": calls.remove_toxic,
            },
        ),
    )


class _Calls:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def version(self, _: bytes) -> Answer:
        return Answer(200, f'{{"version": "{VERSION}"}}\n', "application/json;charset=utf-8")

    async def proxies(self, _: bytes) -> Answer:
        return Answer(200, {state.name: _proxy_json(state) for state in self._registry.states()})

    async def create(self, body: bytes) -> Answer:
        return Answer(201, _proxy_json(await self._registry.create(_proxy_input(decode(body)))))

    async def populate(self, body: bytes) -> Answer:
        try:
            value = decode(body)
            if value is not None and not isinstance(value, list):
                raise BadBodyError(
                    f"json: cannot unmarshal {kind(value)} into Go value of type []{_POPULATED}"
                )
            wanted = [_proxy_input(each, _POPULATED, _POPULATED_PROXY) for each in value or ()]
        except BadBodyError as bad:
            return Answer(400, {**error_json(bad_body(bad)), "proxies": None})
        done = await self._registry.populate(wanted)
        proxies = [_proxy_json(state) for state in done.proxies] or None
        if done.refused is not None:
            return Answer(done.refused.status, {**error_json(done.refused), "proxies": proxies})
        return Answer(201, {"proxies": proxies})

    async def reset(self, _: bytes) -> Answer:
        await self._registry.reset()
        return Answer(204)

    async def proxy(self, name: str, _: bytes) -> Answer:
        return Answer(200, _proxy_json(self._registry.state(name)))

    async def update(self, name: str, body: bytes) -> Answer:
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

    async def delete(self, name: str, _: bytes) -> Answer:
        await self._registry.delete(name)
        return Answer(204)

    async def toxics(self, proxy: str, _: bytes) -> Answer:
        return Answer(200, [_toxic_json(toxic) for toxic in self._registry.state(proxy).toxics])

    async def toxic(self, proxy: str, name: str, _: bytes) -> Answer:
        return Answer(200, _toxic_json(self._registry.toxic(proxy, name)))

    async def add_toxic(self, proxy: str, body: bytes) -> Answer:
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

    async def update_toxic(self, proxy: str, name: str, body: bytes) -> Answer:
        now = self._registry.toxic(proxy, name)
        fields = (
            Field("attributes", dict, path=".attributes"),
            Field("toxicity", float, now.toxicity, ".toxicity"),
        )
        asked = read_object(decode(body), _TOXIC_UPDATE, fields)
        attributes = _attributes(asked["attributes"], now.type)
        changed = await self._registry.update_toxic(proxy, name, asked["toxicity"], attributes)
        return Answer(200, _toxic_json(changed))

    async def remove_toxic(self, proxy: str, name: str, _: bytes) -> Answer:
        await self._registry.remove_toxic(proxy, name)
        return Answer(204)


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


def _attributes(asked: Mapping[str, Any] | None, toxic_type: str) -> Mapping[str, Any]:
    struct = "".join(part.capitalize() for part in toxic_type.split("_")) + "Toxic"
    return read_attributes(asked or {}, struct, stage_kinds()[toxic_type].defaults)
