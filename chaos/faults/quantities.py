"""Sizes of faults with their bounds, so that each kind states only what is its own.

Durations are written as everywhere (`300ms`, `2s`) and kept in seconds. Toxiproxy counts in whole
milliseconds (whole microseconds for the slicer), so anything finer is refused rather than rounded: a
report must never name a fault that was not the one injected. The upper bounds keep a typo from
becoming a fault that outlives the run (2.12.0 turns a latency of 1e13 ms into none, and 1e17 KB/s
kills it).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from slo.units import RATIO_SCHEMA, Duration, format_duration, parse_ratio

_LONGEST_S = 600.0


def milliseconds(duration_s: float) -> int:
    """A duration as Toxiproxy wants it; validated to be whole."""
    return round(duration_s * 1e3)


def microseconds(duration_s: float) -> int:
    """A duration as Toxiproxy's slicer wants it; validated to be whole."""
    return round(duration_s * 1e6)


def _within(least_s: float, grain_s: float, grain: str) -> AfterValidator:
    def check(duration_s: float) -> float:
        if not least_s <= duration_s <= _LONGEST_S:
            bounds = f"{format_duration(least_s)} to {format_duration(_LONGEST_S)}"
            raise ValueError(f"{format_duration(duration_s)} is out of bounds; allowed is {bounds}")
        grains = duration_s / grain_s
        if abs(grains - round(grains)) > 1e-6 * max(1.0, grains):
            raise ValueError(f"{duration_s} s is too fine; fault proxies count in whole {grain}")
        return round(duration_s, 6)

    return AfterValidator(check)


PositiveDuration = Annotated[Duration, _within(0.001, 0.001, "milliseconds")]
"""1 ms to 10 min."""

DurationOrNone = Annotated[Duration, _within(0.0, 0.001, "milliseconds")]
"""0 to 10 min."""

FineDuration = Annotated[Duration, _within(0.0, 0.000001, "microseconds")]
"""0 to 10 min, to the microsecond."""

Probability = Annotated[
    float,
    BeforeValidator(lambda given: given if isinstance(given, float) else parse_ratio(given)),
    Field(gt=0.0, le=1.0),
    WithJsonSchema({"anyOf": [RATIO_SCHEMA, {"type": "number", "exclusiveMinimum": 0, "maximum": 1}]}),
]
"""More than 0 %, at most 100 %."""

Count = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
"""Of requests or answers."""

Tokens = Annotated[int, Field(ge=0, le=100_000, strict=True)]
"""Of an answer, before something happens to it."""

Key = Annotated[str, Field(min_length=1, max_length=200)]
"""The name of a member of a JSON object."""
