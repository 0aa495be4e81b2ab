"""The API's calls on http faults: `/proxies/{proxy}/http_faults` and `…/{name}`.

Toxiproxy has no such thing, so there is no client to be lenient for: an unknown key is refused, and every
refusal says which value it was and what is allowed. Errors have Toxiproxy's form all the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from chaos.proxy.asked import RefusedError
from chaos.proxy.http.fault_set import MAX_FAULTS, HttpFaults
from chaos.proxy.http.faults import BadFaultError, HttpFaultSpec, http_fault_kinds
from chaos.proxy.http.faults.fault import shown

MAX_COUNT = 1_000_000
_KEYS = ("name", "type", "attributes", "path", "method", "probability", "count", "lease")
_NAME = re.compile(r"(?!\.{1,2}$)[^/\x00-\x1f\x7f]{1,200}")  # what a path can name
_METHOD = re.compile(r"\*|[A-Z]{1,32}")
_PATH = re.compile(r"[/*][^\x00-\x20\x7f]{0,1999}")

A = TypeVar("A")
Methods = Mapping[str, Callable[..., Awaitable[A]]]
Route = tuple[re.Pattern[str], Methods[A]]


def http_fault_routes(
    faults_of: Callable[[str], HttpFaults | None],
    require_lease: Callable[[str], None],
    answer: Callable[[int, Any], A],
) -> tuple[Route[A], ...]:
    """Routes as the API has them; `faults_of` is None for a proxy without `http`. They raise RefusedError."""

    def on(proxy: str) -> HttpFaults:
        faults = faults_of(proxy)
        if faults is None:
            advice = 'delete it and make it anew with "http": true'
            raise RefusedError(f"proxy {proxy} reads no requests, so it has no http faults; {advice}", 400)
        return faults

    def on_with(proxy: str, name: str) -> HttpFaults:
        faults = on(proxy)
        if name not in faults.specs:
            raise RefusedError("http fault not found", 404)
        return faults

    async def show_all(proxy: str, _: bytes) -> A:
        faults = on(proxy)
        return answer(200, [faults.as_json(name) for name in faults.specs])

    async def add(proxy: str, body: bytes) -> A:
        faults = on(proxy)
        spec = read_spec(body)
        if spec.name in faults.specs:
            raise RefusedError("http fault already exists", 409)
        if len(faults.specs) >= MAX_FAULTS:
            raise RefusedError(f"proxy {proxy} has {MAX_FAULTS} http faults; remove one first", 400)
        if spec.lease is not None:
            require_lease(spec.lease)
        faults.add(spec)
        return answer(200, faults.as_json(spec.name))

    async def show(proxy: str, name: str, _: bytes) -> A:
        return answer(200, on_with(proxy, name).as_json(name))

    async def remove(proxy: str, name: str, _: bytes) -> A:
        on_with(proxy, name).remove(name)
        return answer(204, None)

    return (
        (re.compile(r"/proxies/([^/]+)/http_faults"), {"GET": show_all, "POST": add}),
        (re.compile(r"/proxies/([^/]+)/http_faults/([^/]+)"), {"GET": show, "DELETE": remove}),
    )


def read_spec(body: bytes) -> HttpFaultSpec:
    """The fault that a body asks for. Raises RefusedError."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _bad(f"it is no JSON: {error}") from None
    if not _has_whole_letters(asked):
        raise _bad("it has half a surrogate pair (an escape from \\ud800 to \\udfff by itself); leave it out")
    if not isinstance(asked, dict):
        raise _bad(f"it is {shown(asked)}; allowed is an object with a type")
    for key in asked:
        if key not in _KEYS:
            raise _bad(f"{shown(key)} is not a key; allowed: {', '.join(_KEYS)}")
    given = {key: value for key, value in asked.items() if value is not None}
    kinds = http_fault_kinds()
    kind = given.get("type", "")
    if not isinstance(kind, str) or kind not in kinds:
        raise _bad(f"type is {shown(kind)}; allowed: {', '.join(kinds)}")
    attributes = given.get("attributes", {})
    if not isinstance(attributes, dict):
        raise _bad(f"attributes is {shown(attributes)}; allowed is an object")
    try:
        attributes = kinds[kind].read(attributes)
    except BadFaultError as error:
        raise _bad(str(error)) from None
    return HttpFaultSpec(
        name=_text(given, "name", kind, _NAME, "1 to 200 characters without a slash, and neither . nor .."),
        type=kind,
        attributes=attributes,
        path=_text(given, "path", "*", _PATH, "a glob that begins with / or *, such as /v1/*"),
        method=_text(given, "method", "*", _METHOD, "* or a method in capitals, such as POST"),
        probability=_probability(given.get("probability", 1.0)),
        count=_count(given.get("count")),
        lease=_text(given, "lease", None, _NAME, "the name of a lease"),
    )


def _has_whole_letters(value: Any) -> bool:
    """Whether it could be written again: neither an answer nor the evidence's file takes half a letter."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True


def _text(given: Mapping[str, Any], key: str, default: Any, allowed: re.Pattern[str], words: str) -> Any:
    value = given.get(key, default)
    if key in given and not (isinstance(value, str) and allowed.fullmatch(value)):
        raise _bad(f"{key} is {shown(value)}; allowed is {words}")
    return value


def _probability(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0.0 < value <= 1.0:
        return float(value)
    raise _bad(f"probability is {shown(value)}; allowed is a number above 0, at most 1")


def _count(value: Any) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_COUNT):
        return value
    raise _bad(
        f"count is {shown(value)}; allowed is a whole number from 1 to {MAX_COUNT}, or null for no limit"
    )


def _bad(why: str) -> RefusedError:
    return RefusedError(f"bad http fault: {why}", 400)
