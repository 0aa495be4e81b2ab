"""What an assertion is: a rule over a run's traces that holds, breaks, or had nothing to say.

An assertion is one module in this package: a frozen pydantic model of its parameters with a `name` and a
`check`, and a call of `register`; nothing else has to change. Its docstring and its fields' descriptions are
its page in docs/reference/assertions.md.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

from slo import verdict
from slo.evidence import Evidence
from slo.verdict import Verdicts

MOST_EXAMPLES = 5


class Assertion(BaseModel):
    """A rule with its parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    example: ClassVar[str]
    """Its parameters as an experiment writes them."""

    @model_validator(mode="before")
    @classmethod
    def _has_a_mapping_of_parameters(cls, value: Any) -> Any:
        if not isinstance(value, Mapping | Assertion):
            keys = ", ".join(field.alias or name for name, field in cls.model_fields.items()) or "none"
            raise ValueError(f"{value!r} is not a mapping of parameters; {cls.name} takes {keys}")
        return value

    @abstractmethod
    def check(self, evidence: Evidence) -> verdict.Assertion:
        """Whether the run kept the rule; `inconclusive` when nothing in it could have broken it."""

    @property
    def called(self) -> str:
        """What reports call it."""
        return self.name

    def result(self, kind: Verdicts, message: str, facts: dict[str, Any] | None = None) -> verdict.Assertion:
        """The outcome of this assertion, in the verdict's form."""
        plain = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return verdict.Assertion(
            name=self.called, parameters=_written(plain), verdict=kind, message=message, facts=facts or {}
        )

    def broken(
        self,
        evidence: Evidence,
        message: str,
        facts: dict[str, Any],
        examples: Iterable[str],
        spans: Collection[str] = (),
    ) -> verdict.Assertion:
        """A failure with the traces that show it, the most telling first; `spans` are marked in its tree."""
        traces = tuple(dict.fromkeys(examples))[:MOST_EXAMPLES]
        first = evidence.traces.tree(traces[0], spans) if traces else None
        return self.result("fail", message, facts).model_copy(update={"exemplars": traces, "trace": first})


def _written(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Durations, which are the only fractions here, named as such; what was left empty is left out."""
    found: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, Mapping):
            found[key] = _written(value)
        elif isinstance(value, float):
            found[f"{key}_s"] = value
        elif value not in ([], {}):
            found[key] = value
    return found


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
