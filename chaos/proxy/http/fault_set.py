"""The faults on one proxy's requests, and which of them strike the next one.

Each request draws once, when it arrives, from one seeded source: the same seed and order of requests give the
same faults. `count` is how many requests a fault strikes at most. A place in it is taken when the request
arrives, so that two at once cannot both be the last, and given back when the fault found nothing to act on.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from chaos.proxy.http.exchange import Exchange
from chaos.proxy.http.faults import HttpFault, HttpFaultSpec, http_fault_kinds
from chaos.proxy.http.passage import Passage, RequestHead

MAX_FAULTS = 64
"""On one proxy."""


@dataclass(slots=True)
class Armed:
    """A fault on a proxy: what was asked for, on how many requests it acted, and on how many more it may."""

    spec: HttpFaultSpec
    fault: HttpFault
    taken: int = 0
    hits: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def type(self) -> str:
        return self.spec.type

    def matches(self, request: RequestHead) -> bool:
        spec = self.spec
        return spec.method in ("*", request.method) and fnmatchcase(request.path, spec.path)

    def draws(self, rng: random.Random) -> bool:
        """Whether it strikes this time."""
        if self.spec.count is not None and self.taken >= self.spec.count:
            return False
        return self.spec.probability >= 1.0 or rng.random() < self.spec.probability


@dataclass(slots=True)
class Struck:
    """A passage, and the faults that drew it."""

    passage: Passage
    at_s: float
    drawn: list[tuple[Armed, Exchange]]

    def end(self) -> None:
        """The request is over: whoever did nothing to it has not used up its count."""
        for armed, exchange in self.drawn:
            if not exchange.has_struck:
                armed.taken -= 1


class HttpFaults:
    """What is on now, in the order in which it was added."""

    def __init__(self, rng: random.Random, now_s: Callable[[], float]) -> None:
        self._rng = rng
        self._now_s = now_s
        self._armed: dict[str, Armed] = {}

    @property
    def specs(self) -> dict[str, HttpFaultSpec]:
        return {name: armed.spec for name, armed in self._armed.items()}

    def as_json(self, name: str) -> dict[str, Any]:
        """One of them as the API shows it, with the number of requests on which it has acted."""
        armed = self._armed[name]
        return {**armed.spec.as_json(), "hits": armed.hits}

    @property
    def armed(self) -> list[Armed]:
        return list(self._armed.values())

    def add(self, spec: HttpFaultSpec) -> None:
        self._armed[spec.name] = Armed(spec, http_fault_kinds()[spec.type](spec.attributes))

    def remove(self, name: str) -> None:
        """Take it away; what it holds goes on at once."""
        self._armed.pop(name).gone.set()

    def clear(self) -> None:
        for name in list(self._armed):
            self.remove(name)

    def begin(self, request: RequestHead) -> Struck | None:
        """What happens to this request; None when nothing does."""
        if not self._armed:
            return None
        matching = [armed for armed in self._armed.values() if armed.matches(request)]
        if not matching:
            return None
        struck = Struck(Passage(request, self._rng, self._now_s), self._now_s(), [])
        for armed in matching:
            exchange = Exchange(struck.passage, armed)
            armed.fault.watch(exchange)
            if armed.draws(self._rng):
                armed.taken += 1
                armed.fault.apply(exchange)
                struck.drawn.append((armed, exchange))
        return struck
