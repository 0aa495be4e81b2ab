"""What a fault on requests is: a type, its parameters with their bounds, and what it does to an exchange.

A type is one file of this package: a subclass of `HttpFault` with a `type` registers itself. It lives as long
as it is on its proxy, so it may remember what it saw; what it does to one request it says in `apply`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from chaos.proxy.http.exchange import Exchange

MAX_DELAY_S = 600.0
MAX_TOKENS = 100_000
MAX_TEXT = 64 * 1024

_KINDS: dict[str, type[HttpFault]] = {}


class BadFaultError(Exception):
    """A fault that cannot be as it was asked for: what, which value, what is allowed."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One attribute of a fault. Without `required`, None stands for "not given" where there is no default."""

    name: str
    kind: type[int] | type[float] | type[str]
    default: int | float | str | None = None
    least: float = 0.0
    """Of a number."""
    most: float = MAX_DELAY_S
    """Of a number; for a text its longest length."""
    choices: tuple[str, ...] = ()
    """The only texts allowed, where there are any."""
    required: bool = False

    def read(self, value: Any) -> int | float | str:
        """The value as the fault gets it. Raises `BadFaultError`."""
        if self.kind is str:
            if isinstance(value, str) and len(value) <= self.most and value in (self.choices or (value,)):
                return value
        elif (
            isinstance(value, int if self.kind is int else int | float)
            and not isinstance(value, bool)
            and self.least <= value <= self.most
        ):
            return self.kind(value)
        raise BadFaultError(f"{self.name} is {shown(value)}; allowed is {self.allowed}")

    @property
    def allowed(self) -> str:
        """What may be given, in words."""
        if self.choices:
            return " or ".join(f"{choice!r}" for choice in self.choices)
        if self.kind is str:
            return f"a text of at most {self.most:g} characters"
        what = "a whole number" if self.kind is int else "a number"
        return f"{what} from {_plain(self.least)} to {_plain(self.most)}"


@dataclass(frozen=True, slots=True)
class HttpFaultSpec:
    """A fault on a proxy, as it was asked for, with its attributes in full."""

    name: str
    type: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    path: str = "*"
    method: str = "*"
    probability: float = 1.0
    count: int | None = None
    lease: str | None = None

    def as_json(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "name": self.name,
            "type": self.type,
            "attributes": dict(self.attributes),
            "path": self.path,
            "method": self.method,
            "probability": self.probability,
            "count": self.count,
            "lease": self.lease,
        }


class HttpFault(ABC):
    """One fault on one proxy."""

    type: ClassVar[str] = ""
    parameters: ClassVar[tuple[Parameter, ...]] = ()

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        self.attributes = attributes

    def __init_subclass__(cls) -> None:
        if cls.type:
            _KINDS[cls.type] = cls

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """All attributes: those given, checked, and the defaults of the others. Raises `BadFaultError`."""
        known = {parameter.name: parameter for parameter in cls.parameters}
        for name in given:
            if name not in known:
                raise BadFaultError(f"{cls.type} has no attribute {shown(name)}; allowed: {_names(known)}")
        attributes: dict[str, Any] = {}
        for name, parameter in known.items():
            value = given.get(name)
            if value is None and parameter.required:
                raise BadFaultError(f"{cls.type} needs {name}: {parameter.allowed}")
            attributes[name] = parameter.default if value is None else parameter.read(value)
        if why := cls.refuse(attributes):
            raise BadFaultError(why)
        return attributes

    @classmethod
    def refuse(cls, attributes: Mapping[str, Any]) -> str | None:  # noqa: ARG003 - most take any
        """Why these attributes cannot be together; None when they can."""
        return None

    def watch(self, exchange: Exchange) -> None:  # noqa: B027 - most need to see nothing else
        """Called for each request that matches, also those that are spared, before `apply`."""

    @abstractmethod
    def apply(self, exchange: Exchange) -> None:
        """Say what is to happen to this request and its answer."""


def registered() -> Mapping[str, type[HttpFault]]:
    return _KINDS


def shown(value: object) -> str:
    """A value as a message quotes it."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _names(known: Mapping[str, Parameter]) -> str:
    return ", ".join(known) or "none"


def _plain(number: float) -> str:
    return f"{int(number)}" if number == int(number) else f"{number}"
