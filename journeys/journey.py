"""What a journey is, and how one is found.

A journey is a function that lives one user's visit. It registers itself, so a file in
`journeys/users/` is all that a new one takes; no list of journeys exists anywhere else.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from journeys.plan import Plan, PlanError
from journeys.visitor import Visitor

Live = Callable[[Visitor], None]

_REGISTERED: dict[str, Journey] = {}


@dataclass(frozen=True, slots=True)
class Journey:
    """A named way to use the service, which asks `questions` questions when nothing stops it."""

    name: str
    questions: int
    live: Live


def journey(name: str, *, questions: int) -> Callable[[Live], Live]:
    """Register a function as the journey `name`."""

    def register(live: Live) -> Live:
        if name in _REGISTERED:
            raise ValueError(f"journey {name!r} is registered twice; rename one of them in journeys/users/")
        if questions < 1:
            raise ValueError(f"journey {name!r} asks {questions} questions; it must ask at least 1")
        _REGISTERED[name] = Journey(name, questions, live)
        return live

    return register


def all_journeys() -> Mapping[str, Journey]:
    """Every journey there is, by name: each module of `journeys.users` is imported once."""
    from journeys import users

    for module in pkgutil.iter_modules(users.__path__):
        importlib.import_module(f"{users.__name__}.{module.name}")
    return MappingProxyType(_REGISTERED)


def journeys_of(plan: Plan) -> Mapping[str, Journey]:
    """The journeys that a plan names, or a PlanError about one that does not exist."""
    known = all_journeys()
    for name in plan.journeys:
        if name not in known:
            raise PlanError(
                f"the plan asks for journey {name!r}; there are {', '.join(sorted(known))}. "
                f"Correct the name, or add journeys/users/{name}.py"
            )
    return {name: known[name] for name in plan.journeys}
