"""How long a delay is, as an experiment says it: one duration, or a distribution of them.

What surely shows is what nineteen draws in twenty reach, because the evaluator asks it of four spans in five
and a run has few of them. The quantiles are those of the distributions as the built-in proxy draws them
(`chaos.proxy.toxics.latency_distribution`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import PlainValidator, TypeAdapter, ValidationError, WithJsonSchema

from chaos.faults.quantities import DurationOrNone, PositiveDuration, milliseconds
from slo.units import DURATION_SCHEMA

Shape = Literal["uniform", "normal", "lognormal", "pareto"]
FORMS = {
    "constant": "{constant: 2s}",
    "uniform": "{uniform: [1s, 3s]}",
    "normal": "{normal: [2s, 300ms]}",
    "lognormal": "{lognormal: [2s, 0.5]}",
    "pareto": "{pareto: [1s, 1.5]}",
}
_SHAPES = {"lognormal": (0.001, 5.0), "pareto": (0.1, 100.0)}
_Z_OF_19_IN_20 = 1.6449
_POSITIVE: TypeAdapter[float] = TypeAdapter(PositiveDuration)
_OR_NONE: TypeAdapter[float] = TypeAdapter(DurationOrNone)


@dataclass(frozen=True, slots=True)
class Distribution:
    """Delays around `latency_s`: middle, mean, median or least; `spread` in seconds, or a shape's number."""

    shape: Shape
    latency_s: float
    spread: float

    @property
    def spread_of_toxic(self) -> int:
        """As the toxic counts it: milliseconds, or thousandths."""
        return milliseconds(self.spread)

    @property
    def surely_s(self) -> float:
        """What nineteen draws in twenty reach."""
        match self.shape:
            case "uniform":
                return self.latency_s - 0.9 * self.spread
            case "normal":
                return max(0.0, self.latency_s - _Z_OF_19_IN_20 * self.spread)
            case "lognormal":
                return self.latency_s * math.exp(-_Z_OF_19_IN_20 * self.spread)
            case _:
                return self.latency_s


def parse_delay(raw: Any) -> float | Distribution:
    """Seconds, or a distribution. Raises ValueError with what to write."""
    if isinstance(raw, Distribution):
        return raw
    if not isinstance(raw, Mapping):
        return _duration(_POSITIVE, raw)
    if len(raw) != 1 or next(iter(raw)) not in FORMS:
        raise ValueError(f"{raw!r} is no delay; write 2s, or one of {', '.join(FORMS.values())}")
    ((shape, given),) = raw.items()
    if shape == "constant":
        return _duration(_POSITIVE, given)
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise ValueError(f"{shape} takes two values, not {given!r}; write {FORMS[shape]}")
    if shape == "uniform":
        return _uniform(_duration(_OR_NONE, given[0]), _duration(_POSITIVE, given[1]))
    latency_s = _duration(_POSITIVE, given[0])
    spread = _duration(_OR_NONE, given[1]) if shape == "normal" else _number(shape, given[1])
    return Distribution(shape, latency_s, spread)


def _uniform(least_s: float, most_s: float) -> Distribution:
    if least_s >= most_s:
        raise ValueError(f"uniform goes from {least_s:g} s to {most_s:g} s; write the smaller one first")
    middle_ms = (milliseconds(least_s) + milliseconds(most_s)) / 2
    if not middle_ms.is_integer():
        raise ValueError(
            f"the middle of uniform is {middle_ms:g} ms; fault proxies count in whole milliseconds, "
            f"so make one end 1 ms longer"
        )
    return Distribution("uniform", middle_ms / 1e3, round(middle_ms / 1e3 - least_s, 6))


def _number(shape: str, raw: Any) -> float:
    least, most = _SHAPES[shape]
    is_number = isinstance(raw, int | float) and not isinstance(raw, bool)
    if not is_number or not least <= raw <= most:
        raise ValueError(
            f"the shape of {shape} is {raw!r}; allowed is {least:g} to {most:g}, as in {FORMS[shape]}"
        )
    if abs(raw * 1e3 - round(raw * 1e3)) > 1e-6:
        raise ValueError(f"the shape of {shape} is {raw!r}; fault proxies count in whole thousandths")
    return float(raw)


def _duration(kind: TypeAdapter[float], raw: Any) -> float:
    try:
        return kind.validate_python(raw)
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


Delay = Annotated[
    float | Distribution,
    PlainValidator(parse_delay),
    WithJsonSchema(
        {
            "anyOf": [
                DURATION_SCHEMA,
                {
                    "type": "object",
                    "properties": {shape: {} for shape in FORMS},
                    "additionalProperties": False,
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ]
        }
    ),
]
"""A field that is written as a duration or as a distribution."""
