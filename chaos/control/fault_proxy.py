"""What is said about a fault proxy: its proxies, its toxics, and how talking to it can fail.

Apart from the client that speaks to it, so that faults, the runner, the warden and rollback share the
words without sharing the transport. An error keeps what was asked and what came back, because "the
rollback failed" alone leaves a person with a broken dependency and no lead.

FaultProxyError            the proxy said no, or answered something else than was asked for
├── ProxyMissingError      404: that proxy, or that toxic, is not there
├── ProxyGoneError         nobody listens at its address: its process is gone, and its toxics with it
└── ProxyHungError         no answer in time, or 503: what was asked may have been done or not
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

USE_BUILTIN = "the built-in proxy can: RAGQUAKE_PROXY=builtin"
"""Advice on what Toxiproxy cannot do."""

Stream = Literal["downstream", "upstream"]
"""`downstream`: from the dependency to the service; `upstream`: from the service to the dependency."""


@dataclass(frozen=True, slots=True)
class Toxic:
    """One toxic as Toxiproxy knows it; `attributes` are whole numbers in its units (ms, bytes, KB/s, µs).

    The built-in proxy knows more: attributes that are names, and a lease at whose end the toxic goes.
    """

    name: str
    type: str
    stream: str = "downstream"
    toxicity: float = 1.0
    attributes: Mapping[str, int | str] = field(default_factory=dict)
    lease: str = ""


@dataclass(frozen=True, slots=True)
class ProxyState:
    """One proxy as Toxiproxy knows it; `listen` holds the real port once the proxy was enabled.

    On the built-in proxy it may read requests (`http`), and go when a lease ends.
    """

    name: str
    listen: str
    upstream: str
    enabled: bool
    toxics: tuple[Toxic, ...] = ()
    http: bool = False
    lease: str = ""


TOKEN_VARIABLE = "RAGQUAKE_PROXY_TOKEN"
"""What a built-in proxy that listens on a network asks its callers for; Toxiproxy takes no notice of it."""


class FaultProxyError(Exception):
    """The fault proxy did not do what was asked; `asked`, `status` and `answer` say what came back."""

    who: ClassVar[str] = "fault proxy"

    def __init__(self, asked: str, answer: str, *, status: int | None = None, advice: str = "") -> None:
        self.asked = asked
        self.answer = answer
        self.status = status
        said = f"HTTP {status}: {answer}" if status is not None else answer
        super().__init__(f"{self.who}: {asked}: {said}" + (f"; {advice}" if advice else ""))


class ProxyMissingError(FaultProxyError):
    """404: the proxy or the toxic is not there."""


class ProxyGoneError(FaultProxyError):
    """Nobody listens at the API's address: the process is gone, and every toxic with it."""


class ProxyHungError(FaultProxyError):
    """No answer within the time allowed, or 503: what was asked may have been done or not."""
