"""Rules over traces, as experiments write them. Every module of this package registers its own."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from pydantic import create_model

from slo.assertions.assertion import Assertion, register, registered
from slo.documents import did_you_mean

__all__ = ["Assertion", "all_assertions", "parse", "register"]


def all_assertions() -> dict[str, type[Assertion]]:
    """Every assertion by name; importing a module of the package is what registers it."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        importlib.import_module(module.name)
    return registered()


def parse(raw: Mapping[str, Any]) -> Assertion:
    """The assertion in a mapping of one key, such as `{breaker_opens: {breaker: vector_db, within: 10s}}`.

    Raises ValueError: with a suggestion for an unknown name, and as pydantic's ValidationError, whose
    locations start with the assertion's name, for wrong parameters.
    """
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
    holder = create_model(name, **{name: (known[name], ...)})  # type: ignore[call-overload]
    found: Assertion = getattr(holder.model_validate({name: {} if parameters is None else parameters}), name)
    return found
