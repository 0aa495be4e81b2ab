"""The API's calls that Toxiproxy does not have: leases, evidence, metrics, and faults on requests.

They stand apart so that what `api` says is Toxiproxy's can be held against Toxiproxy. Nobody is used to them,
so they are strict: an unknown key or parameter is refused, with what is allowed.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qsl

from chaos.proxy.answers import Answer, Route
from chaos.proxy.asked import RefusedError
from chaos.proxy.bodies import Fraction, decode
from chaos.proxy.http.fault_set import HttpFaults
from chaos.proxy.http.routes import http_fault_routes
from chaos.proxy.leases import LEAST_S, MOST_S, Lease
from chaos.proxy.metrics import CONTENT_TYPE, exposition
from chaos.proxy.registry import Registry

MOST_RECORDS = 5_000
_MOST_NAME = 200


def extension_routes(registry: Registry) -> tuple[Route, ...]:
    """All of them, over one registry."""
    calls = _Calls(registry)

    def faults_of(proxy: str) -> HttpFaults | None:
        hop = registry.find(proxy).hop
        return hop.faults if hop is not None else None

    return (
        (re.compile(r"/leases"), {"GET": calls.leases}),
        (re.compile(r"/leases/([^/]+)"), {"PUT": calls.put_lease, "DELETE": calls.end_lease}),
        (re.compile(r"/evidence"), {"GET": calls.evidence}),
        (re.compile(r"/metrics"), {"GET": calls.metrics}),
        *http_fault_routes(faults_of, registry.require_lease, Answer),
    )


class _Calls:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def leases(self, _: bytes) -> Answer:
        leases = self._registry.leases.states()
        return Answer(
            200, [{**_lease_json(each), "holds": self._registry.hanging_on(each.name)} for each in leases]
        )

    async def put_lease(self, name: str, body: bytes) -> Answer:
        asked = decode(body)
        if not isinstance(asked, dict) or set(asked) != {"ttl_s"}:
            raise RefusedError(f'bad lease: the body must be {{"ttl_s": {LEAST_S:g} to {MOST_S:g}}}', 400)
        ttl = asked["ttl_s"]
        ttl_s = float(ttl.text) if isinstance(ttl, Fraction) else ttl
        is_number = isinstance(ttl_s, int | float) and not isinstance(ttl_s, bool)
        if not is_number or not LEAST_S <= ttl_s <= MOST_S:
            shown = ttl.text[:40] if isinstance(ttl, Fraction) else repr(ttl)[:40]
            raise RefusedError(f"ttl_s must be a number from {LEAST_S:g} to {MOST_S:g}, not {shown}", 400)
        if len(name) > _MOST_NAME:
            raise RefusedError(f"a lease's name has at most {_MOST_NAME} characters, not {len(name)}", 400)
        lease = self._registry.leases.put(name, float(ttl_s))
        return Answer(200, {**_lease_json(lease), "renewed": lease.renewed})

    async def end_lease(self, name: str, _: bytes) -> Answer:
        self._registry.require_lease(name)
        self._registry.leases.end(name)
        return Answer(204)

    async def evidence(self, query: bytes) -> Answer:
        asked = {"after": 0, "limit": 1_000}
        for key, value in parse_qsl(query.decode("ascii", "replace"), keep_blank_values=True):
            if key not in asked or not re.fullmatch(r"[0-9]{1,18}", value):
                allowed = f"after (a record's number) and limit (1 to {MOST_RECORDS})"
                raise RefusedError(f"{key[:40]}={value[:40]} cannot be asked for; allowed: {allowed}", 400)
            asked[key] = int(value)
        if not 1 <= asked["limit"] <= MOST_RECORDS:
            raise RefusedError(f"limit must be within 1..{MOST_RECORDS}, not {asked['limit']}", 400)
        page = self._registry.evidence.after(asked["after"], asked["limit"])
        records = [record.as_json() for record in page.records]
        return Answer(200, {"records": records, "dropped": page.dropped, "began_s": page.began_s})

    async def metrics(self, _: bytes) -> Answer:
        return Answer(200, exposition(self._registry), CONTENT_TYPE)


def _lease_json(lease: Lease) -> dict[str, Any]:
    shown = asdict(lease)
    del shown["renewed"]
    shown["ends_in_s"] = round(lease.ends_in_s, 3)
    return shown
