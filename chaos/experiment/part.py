"""What the parts of an experiment have in common: frozen, unknown keys refused, sizes bounded.

A bound is on everything that a run would have to live through, so that a typo
costs a message and not a night.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from slo.units import DURATION_SCHEMA, parse_duration_s

MAX_PHASE_S = 6 * 3600.0


def _duration_within_bounds(text: object) -> float:
    seconds = parse_duration_s(text)
    if not 0 < seconds <= MAX_PHASE_S:
        raise ValueError(f"{text!r} is out of range; allowed is more than 0s and at most {MAX_PHASE_S:g}s")
    return seconds


BoundedDuration = Annotated[
    float, BeforeValidator(_duration_within_bounds), WithJsonSchema(dict(DURATION_SCHEMA))
]
"""More than 0 s, at most 6 h."""

_NAME = r"^[a-z0-9][a-z0-9_-]{0,59}$"


def _name(text: str) -> str:
    if not re.fullmatch(_NAME, text):
        rule = "use a-z, 0-9, - and _, begin with a letter or digit, at most 60 characters"
        raise ValueError(f"{text!r} cannot be a name; {rule}")
    return text


Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": _NAME})]
"""Of an experiment, a phase, a fault: it becomes part of a folder's name and of a toxic's."""


def _single(value: object) -> object:
    if not isinstance(value, str | int | float | bool):
        raise ValueError("must be a single value: text, a number, true or false")
    return value


WholeNumber = Annotated[int, Field(strict=True)]
"""Not `true`, which Python counts as 1, and no text."""

Scalar = Annotated[str | int | float | bool, BeforeValidator(_single)]
"""One value: a setting of the service, a variable."""


class Part(BaseModel):
    """A part of an experiment: fixed once read, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
