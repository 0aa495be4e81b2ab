"""Rules over traces, as experiments write them. Every module of this package registers its own."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError, create_model

from slo.assertions.assertion import Assertion, register, registered
from slo.documents import Location, did_you_mean, explain

__all__ = ["Assertion", "all_assertions", "name_of", "parse", "problems_of", "register"]


def all_assertions() -> dict[str, type[Assertion]]:
    """Every assertion by name; importing a module of the package is what registers it."""
    _import_modules()
    return registered()


@cache
def _import_modules() -> None:
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        importlib.import_module(module.name)


def parse(raw: Mapping[str, Any]) -> Assertion:
    """The assertion in a mapping of one key, such as `{breaker_opens: {breaker: vector_db, within: 10s}}`.

    Raises ValueError: with a suggestion for an unknown name, and as pydantic's ValidationError, whose
    locations start with the assertion's name, for wrong parameters.
    """
    name, parameters = _only_entry(raw)
    holder = _holder(name)
    found: Assertion = getattr(holder.model_validate({name: {} if parameters is None else parameters}), name)
    return found


def name_of(raw: Mapping[str, Any]) -> str:
    """What a verdict calls an assertion."""
    try:
        return parse(raw).called
    except ValueError:
        return str(next(iter(raw), "assertion"))


def problems_of(
    raw: Mapping[str, Any], phases: Collection[str], breakers: Collection[str]
) -> list[tuple[Location, str]]:
    """What is wrong with an assertion as an experiment writes it, and where below the assertion."""
    try:
        parse(raw)
    except ValidationError as error:
        model = _holder(next(iter(raw)))
        return [(tuple(detail["loc"]), explain(dict(detail), model)) for detail in error.errors()]
    except ValueError as error:
        return [((), str(error))]
    ((name, parameters),) = raw.items()
    named = {"breaker": ("breaker", breakers), "after": ("phase", phases), "in": ("phase", phases)}
    return [
        (
            (name, key),
            f"no {what} is called {one!r}{did_you_mean(one, known)}; allowed are {', '.join(known)}",
        )
        for key, (what, known) in named.items()
        for one in _listed((parameters or {}).get(key))
        if one not in known
    ]


def _listed(value: Any) -> list[str]:
    given = value if isinstance(value, list) else [value]
    return [str(one) for one in given if one is not None]


def _only_entry(raw: Mapping[str, Any]) -> tuple[str, Any]:
    known = all_assertions()
    if len(raw) != 1:
        keys = ", ".join(map(str, raw)) or "none"
        raise ValueError(
            f"an assertion has one key, its name, such as breaker_opens: {{…}}; here there are: {keys}"
        )
    ((name, parameters),) = raw.items()
    if name not in known:
        hint = did_you_mean(str(name), known)
        raise ValueError(f"no assertion is called {name!r}{hint}; allowed are {', '.join(known)}")
    return name, parameters


def _holder(name: str) -> type[BaseModel]:
    """A model of that one key, so that locations start with it."""
    return _holding(name, all_assertions()[name])


@cache
def _holding(name: str, kind: type[Assertion]) -> type[BaseModel]:
    """Made once: pydantic takes longer to build a model than to validate an experiment with it."""
    holder: type[BaseModel] = create_model(name, **{name: (kind, ...)})  # type: ignore[call-overload]
    return holder
