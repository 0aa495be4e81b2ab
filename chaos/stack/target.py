"""A target file: a service that runs already, its dependencies, its telemetry, and what of it may be hurt.

Reading it decides every address that is in it, once (`chaos.safety.targets`); a run that attaches dials those
and nothing else. A dependency is behind a proxy that is there already, or behind one that the run puts there,
or behind none: then no fault can be done to it, which is said before anything starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chaos.safety.targets import (
    LOOPBACK_ONLY,
    Allowed,
    Resolve,
    Target,
    TargetRefused,
    decide_address,
    decide_url,
    parse_allowed,
)
from slo.documents import Document, DocumentError, read_document
from slo.segments import SegmentTable
from slo.segments.foreign import read_table

Dependency = Literal["vector_db", "llm"]
UrlPath = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)+$", max_length=200)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServicePlace(_Part):
    """The service under test; a path that is left out is not asked."""

    url: str = Field(description="http://HOST:PORT, or with a path before /v1/answers")
    ready: UrlPath | None = Field(None, description="answers 200 once the service can answer, e.g. /readyz")
    breakers: UrlPath | None = Field(None, description="the states of its breakers, e.g. /v1/breakers")
    flush: UrlPath | None = Field(
        None, description="POST: hands over all spans it still holds, e.g. /v1/telemetry/flush"
    )


class DependencyPlace(_Part):
    """Where faults on a dependency go in: a proxy that is there (`toxiproxy`, `proxy`), or one that the run
    puts there (`listen`, `upstream`)."""

    toxiproxy: str | None = Field(None, description="the API of a Toxiproxy, or of ragquake proxy, that runs")
    proxy: str | None = Field(
        None,
        description="the name of its proxy before this dependency",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
    )
    listen: str | None = Field(None, description="where the run's proxy listens, and the service calls")
    upstream: str | None = Field(None, description="where that leads: HOST:PORT of the dependency")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        there, put = (self.toxiproxy, self.proxy), (self.listen, self.upstream)
        if (None in there) == (None in put) or any(there) == any(put):
            raise ValueError(
                "is either a proxy that is there (toxiproxy: http://HOST:PORT, proxy: NAME) or one that the "
                "run puts there (listen: HOST:PORT, upstream: HOST:PORT); leave the dependency out for none"
            )
        return self


class TelemetryPlace(_Part):
    """Where the run listens for the service's OTLP/HTTP."""

    listen: str = Field(description="HOST:PORT on this machine, to which the service exports")


class TargetFile(_Part):
    """A target that runs already, as its file says it."""

    api_version: Literal["ragquake/v1"] = Field(alias="apiVersion")
    kind: Literal["Target"]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,59}$")
    service: ServicePlace
    dependencies: dict[Dependency, DependencyPlace] = {}
    telemetry: TelemetryPlace | None = None
    segments: str = Field("default", description="default, or a file with the spans of each segment")
    allow_targets: tuple[str, ...] = Field((), description="HOST:PORT beyond this machine, exactly")


@dataclass(frozen=True, slots=True)
class ProxyThere:
    """A proxy that somebody else runs: the API's decided address, and its name there."""

    api: str
    name: str


@dataclass(frozen=True, slots=True)
class ProxyToPut:
    """A proxy of the run's own: where it listens, and the decided address behind it."""

    listen: str
    upstream: str


@dataclass(frozen=True, slots=True)
class AttachedTarget:
    """A target whose every address is decided. `service` is a URL; a path that is empty is not asked."""

    path: Path
    name: str
    service: str
    ready: str = ""
    breakers: str = ""
    flush: str = ""
    proxies: Mapping[str, ProxyThere | ProxyToPut] = field(default_factory=dict)
    telemetry: Target | None = None
    table: SegmentTable | None = None
    allowed: Allowed = LOOPBACK_ONLY

    @property
    def addresses(self) -> tuple[str, ...]:
        """What no two runs may have at once, from wherever they are started: the service, and each proxy."""
        service = "/".join(self.service.split("/")[:3])
        there = [one for one in self.proxies.values() if isinstance(one, ProxyThere)]
        return (service, *(f"{one.api}/proxies/{one.name}" for one in there))


def load_target(path: Path, *, owned: bool = False, resolve: Resolve | None = None) -> AttachedTarget:
    """Read and decide a target file; `owned` is --i-own-this-target. Raises DocumentError."""
    document = read_document(path)
    kind = document.data.get("kind")
    if kind not in (None, "Target"):
        why = f"{kind!r} is no target; a file for --stack has kind: Target (docs/reference/target.md)"
        raise DocumentError([document.problem(("kind",), why)])
    file = document.validate(TargetFile)
    reading = _Reading(document, _allowed(document, file, owned), resolve)
    service = reading.decide(("service", "url"), file.service.url, decide_url)
    proxies: dict[str, ProxyThere | ProxyToPut] = {
        name: found for name, place in file.dependencies.items() if (found := reading.proxy(name, place))
    }
    telemetry = reading.listen(("telemetry", "listen"), file.telemetry.listen) if file.telemetry else None
    table = reading.table(file.segments)
    reading.require_apart(service, proxies, telemetry)
    if reading.problems or service is None:
        raise DocumentError(reading.problems)
    asked = file.service
    return AttachedTarget(
        path=path,
        name=file.name,
        service=service.url,
        ready=asked.ready or "",
        breakers=asked.breakers or "",
        flush=asked.flush or "",
        proxies=proxies,
        telemetry=telemetry,
        table=table,
        allowed=reading.allowed,
    )


def _allowed(document: Document, file: TargetFile, owned: bool) -> Allowed:
    try:
        return parse_allowed(file.allow_targets, str(document.path), owned=owned)
    except TargetRefused as refused:
        raise DocumentError(
            [document.problem(("allow_targets",), problem) for problem in refused.problems]
        ) from None


class _Reading:
    """Decides one value after the other, and collects all that is wrong."""

    def __init__(self, document: Document, allowed: Allowed, resolve: Resolve | None) -> None:
        self._document = document
        self.allowed = allowed
        self._resolve = resolve
        self.problems: list[str] = []

    def decide(
        self, at: tuple[str, ...], text: str, how: Callable[[str, str, Allowed, Resolve | None], Target]
    ) -> Target | None:
        try:
            return how("", text, self.allowed, self._resolve)
        except TargetRefused as refused:
            self.problems += [self._document.problem(at, problem) for problem in refused.problems]
            return None

    def listen(self, at: tuple[str, ...], text: str) -> Target | None:
        """An address on which the run listens itself."""
        try:
            return decide_address("", text, LOOPBACK_ONLY, self._resolve)
        except TargetRefused:
            why = (
                f"{text!r} is not a loopback address with a port; what a run puts there has no password, so "
                f"it listens on 127.0.0.1 or ::1 alone (for a service elsewhere: a tunnel that ends here)"
            )
            self.problems.append(self._document.problem(at, why))
            return None

    def proxy(self, name: str, place: DependencyPlace) -> ProxyThere | ProxyToPut | None:
        at = ("dependencies", name)
        if place.toxiproxy is not None and place.proxy is not None:
            api = self.decide((*at, "toxiproxy"), place.toxiproxy, decide_url)
            if api is not None and api.path:
                why = f"{place.toxiproxy!r} has a path; write the API as http://HOST:PORT"
                self.problems.append(self._document.problem((*at, "toxiproxy"), why))
            return ProxyThere(api.url, place.proxy) if api else None
        listen = self.listen((*at, "listen"), str(place.listen))
        upstream = self.decide((*at, "upstream"), str(place.upstream), decide_address)
        return ProxyToPut(listen.address, upstream.address) if listen and upstream else None

    def table(self, segments: str) -> SegmentTable | None:
        if segments == "default":
            return None
        try:
            return read_table(self._document.path.parent / segments)
        except DocumentError as error:
            self.problems += error.problems
            return None

    def require_apart(
        self, service: Target | None, proxies: Mapping[str, ProxyThere | ProxyToPut], telemetry: Target | None
    ) -> None:
        """No two things at one address: a fault on one would be a fault on both, or a circle."""
        taken = {service.address: "service.url"} if service else {}
        for name, proxy in proxies.items():
            place = f"{proxy.name} at {proxy.api}" if isinstance(proxy, ProxyThere) else proxy.listen
            self._take(taken, place, ("dependencies", name))
        if telemetry is not None:
            self._take(taken, telemetry.address, ("telemetry", "listen"))
        for name, proxy in proxies.items():
            if isinstance(proxy, ProxyToPut) and proxy.upstream in taken:
                why = (
                    f"upstream {proxy.upstream} is {taken[proxy.upstream]} itself; name the dependency's own"
                )
                self.problems.append(self._document.problem(("dependencies", name, "upstream"), why))

    def _take(self, taken: dict[str, str], place: str, at: tuple[str, ...]) -> None:
        if place in taken:
            why = f"{place} is {taken[place]} already; each needs its own"
            self.problems.append(self._document.problem(at, why))
        taken[place] = ".".join(at)
