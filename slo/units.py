"""Durations, ratios and rates as people write them (`300ms`, `99.9%`, `4/s`) and as numbers (s, 0..1, 1/s).

Every file that users write goes through these parsers, so that one spelling means one thing everywhere.
A bare number is refused: `5` could be seconds or milliseconds, and a wrong guess is a wrong verdict.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, WithJsonSchema

_NUMBER = r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
_DURATION = re.compile(rf"{_NUMBER}\s*(us|µs|ms|s|m|h)")
_RATIO = re.compile(rf"{_NUMBER}\s*%")
_RATE = re.compile(rf"{_NUMBER}\s*/\s*(s|m|h)")
NUMBER_PATTERN: Final = _NUMBER
DURATION_PATTERN: Final = rf"^\s*{_DURATION.pattern}\s*$"
RATIO_PATTERN: Final = rf"^\s*{_RATIO.pattern}\s*$"
RATE_PATTERN: Final = rf"^\s*{_RATE.pattern}\s*$"
"""What the parsers below take, for JSON Schemas; bounds are told by the fields that have them."""
DURATION_SCHEMA: Final[dict[str, Any]] = {"type": "string", "pattern": DURATION_PATTERN}
RATIO_SCHEMA: Final[dict[str, Any]] = {"type": "string", "pattern": RATIO_PATTERN}
_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration_s(text: object) -> float:
    """Seconds of a duration such as `300ms`, `10s`, `2m` or `1h`. Raises ValueError with what is allowed."""
    found = _DURATION.fullmatch(str(text).strip())
    if not found:
        raise ValueError(f"{text!r} is not a duration; write a number and a unit, such as 300ms, 10s or 2m")
    return _finite(text, float(found[1]) * _SECONDS[found[2]])


def parse_ratio(text: object) -> float:
    """0..1 (or beyond) of a percentage such as `99.9%`. Raises ValueError with what is allowed."""
    found = _RATIO.fullmatch(str(text).strip())
    if not found:
        raise ValueError(f"{text!r} is not a ratio; write a percentage, such as 99.9%")
    return _finite(text, float(found[1]) / 100.0)


def parse_rate_per_s(text: object) -> float:
    """Events per second of a rate such as `4/s` or `120/m`. Raises ValueError with what is allowed."""
    found = _RATE.fullmatch(str(text).strip())
    if not found:
        raise ValueError(f"{text!r} is not a rate; write a number per unit of time, such as 4/s or 120/m")
    return _finite(text, float(found[1]) / _SECONDS[found[2]])


def format_duration(seconds: float) -> str:
    """A duration in the unit people would choose: `340 ms`, `2.1 s`, `3 m 20 s`."""
    if math.isinf(seconds):
        return "∞"
    if abs(seconds) < 0.9995:
        return f"{seconds * 1000:.3g} ms" if abs(seconds) < 0.0995 else f"{seconds * 1000:.0f} ms"
    if abs(seconds) < 120:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest} s" if rest else f"{minutes} m"


def format_ratio(ratio: float) -> str:
    """A ratio as a percentage with as many digits as it needs: `99.95 %`, `100 %`."""
    return f"{ratio * 100:.4g} %"


def _finite(text: object, value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite value")
    return value


Duration = Annotated[
    float,
    BeforeValidator(lambda v: v if isinstance(v, float) else parse_duration_s(v)),
    WithJsonSchema(DURATION_SCHEMA),
]
"""A pydantic field that is written as a duration and read as seconds."""
