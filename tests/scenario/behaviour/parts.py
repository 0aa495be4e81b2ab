"""What a scenario puts its hands on: an upstream, the model server's faults, a fault proxy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from chaos.control.toxiproxy import Toxic, Toxiproxy
from chaos.stack.part import Part
from tests.scenario.behaviour.evidence import Reading

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Upstream:
    """A dependency behind the fault proxies."""

    name: str
    port: int
    part: Part

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"


class ModelServer:
    """The simulator's admin API."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=5.0, trust_env=False)

    @contextmanager
    def faults(self, *faults: Mapping[str, Any]) -> Iterator[None]:
        """Faults in, then out again."""
        self.put(*faults)
        try:
            yield
        finally:
            self.put()

    def put(self, *faults: Mapping[str, Any]) -> None:
        answer = self._client.post("/admin/faults", json={"faults": list(faults)})
        assert answer.status_code == 200, answer.text

    def read(self) -> Reading:
        state = self._client.get("/admin/state").json()
        return Reading(time.time(), state["running"], state["waiting"], state["received"])


@dataclass(frozen=True, slots=True)
class Proxy:
    """One fault proxy with a listener for each upstream."""

    kind: str
    client: Toxiproxy
    listen: Mapping[str, int]
    upstreams: Mapping[str, str]

    @contextmanager
    def toxic(self, dependency: str, type_: str, **attributes: Any) -> Iterator[None]:
        """A toxic in, then out again."""
        toxicity = attributes.pop("toxicity", 1.0)
        stream = attributes.pop("stream", "downstream")
        self.client.add_toxic(dependency, Toxic("scenario", type_, stream, toxicity, attributes))
        try:
            yield
        finally:
            self.client.remove_toxic(dependency, "scenario")

    @contextmanager
    def shut(self, dependency: str) -> Iterator[None]:
        """The listener closed with all its connections, then open again."""
        self.client.set_enabled(dependency, False)
        try:
            yield
        finally:
            self.client.set_enabled(dependency, True)

    @contextmanager
    def upstream(self, dependency: str, address: str) -> Iterator[None]:
        """Another server behind the same listener."""
        self._point(dependency, address)
        try:
            yield
        finally:
            self._point(dependency, self.upstreams[dependency])

    def _point(self, dependency: str, address: str) -> None:
        self.client.delete_proxy(dependency)
        self.client.create_proxy(dependency, f"{LOOPBACK}:{self.listen[dependency]}", address)
