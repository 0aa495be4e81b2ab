"""What an assertion is: a rule over a run's traces that holds, breaks, or had nothing to say.

An assertion is one module in this package: a frozen pydantic model of its parameters with a `name` and a
`check`, and a call of `register`; nothing else has to change.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from slo import verdict
from slo.evidence import Evidence
from slo.verdict import Verdicts

EXEMPLARS = 10


class Assertion(BaseModel):
    """A rule with its parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]

    @abstractmethod
    def check(self, evidence: Evidence) -> verdict.Assertion:
        """Whether the run kept the rule; `inconclusive` when nothing in it could have broken it."""

    def result(
        self, kind: Verdicts, message: str, facts: dict[str, Any] | None = None, exemplars: Sequence[str] = ()
    ) -> verdict.Assertion:
        """The outcome of this assertion, in the verdict's form."""
        return verdict.Assertion(
            name=self.name,
            parameters=self.model_dump(mode="json"),
            verdict=kind,
            message=message,
            facts=facts or {},
            exemplars=tuple(exemplars[:EXEMPLARS]),
        )


_registry: dict[str, type[Assertion]] = {}


def register(kind: type[Assertion]) -> type[Assertion]:
    """Make an assertion known by its name; usable as a decorator."""
    if kind.name in _registry:
        raise ValueError(f"an assertion called {kind.name!r} exists already; choose another name")
    _registry[kind.name] = kind
    return kind


def registered() -> dict[str, type[Assertion]]:
    """All assertions by name."""
    return dict(sorted(_registry.items()))
