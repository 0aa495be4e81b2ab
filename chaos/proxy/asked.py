"""What a client can ask for, and what it is told when that cannot be.

Toxiproxy takes toxics that kill it, and names that no path leads to; here they are refused, with what can be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from chaos.control.fault_proxy import Toxic
from chaos.proxy.toxics import Stage, stage_kinds


class RefusedError(Exception):
    """A request that cannot be done, with the HTTP status that says why."""

    def __init__(self, message: str, status: int) -> None:
        self.message = message
        self.status = status
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class ProxyInput:
    """A proxy as a client asks for it; `http` and `lease` are not Toxiproxy's."""

    name: str
    listen: str
    upstream: str
    enabled: bool
    http: bool = False
    lease: str = ""


def require_fields(wanted: ProxyInput) -> None:
    """A name, by which it can be called, and an upstream."""
    for field in ("name", "upstream"):
        if not getattr(wanted, field):
            raise RefusedError(f"missing required field: {field}", 400)
    require_path(wanted.name)


def require_path(name: str) -> None:
    """A name that a path of the API can hold."""
    if name in (".", ".."):
        raise RefusedError(f"nothing can be named {name!r}: no path leads to it", 400)


def with_attributes(toxic: Toxic, asked: Mapping[str, Any]) -> Toxic:
    """The toxic with the attributes `asked` for, unless it could not work with them."""
    kind: type[Stage] = stage_kinds()[toxic.type]
    names = {name.lower(): name for name in kind.defaults}
    merged = dict(toxic.attributes)
    for key, value in asked.items():
        if key.lower() not in names:
            allowed = ", ".join(kind.defaults) or "none"
            raise RefusedError(f"{toxic.type} has no attribute {key!r}; allowed: {allowed}", 400)
        merged[names[key.lower()]] = value
    if not 0.0 <= toxic.toxicity <= 1.0:
        raise RefusedError(f"toxicity must be within 0..1, not {toxic.toxicity}", 400)
    if why := kind.refuse(merged):
        raise RefusedError(why, 400)
    return replace(toxic, attributes=merged)
