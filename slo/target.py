"""Targets as people write them: `<= 1.5s`, `>= 99%`, `= 0%`, `<= +10%` (of the baseline), `>= 4/s`.

A target says when a value is good; a verdict needs more: the whole interval must be good for a pass, and
the whole interval bad for a failure.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from slo.statistics import Interval
from slo.units import format_duration, format_ratio, parse_duration_s, parse_rate_per_s, parse_ratio

Operator = Literal["<=", ">=", "="]
_TARGET = re.compile(r"\s*(<=|>=|=)\s*(.+?)\s*")
_EXAMPLES = {"s": "<= 1.5s or <= +10%", "ratio": ">= 99% or = 0%", "per_s": ">= 4/s or >= -10%"}


@dataclass(frozen=True, slots=True)
class Target:
    """A bound. When `relative`, `bound` is a change against the baseline (+0.1 is ten per cent more)."""

    operator: Operator
    bound: float
    relative: bool
    text: str

    def meets(self, value: float) -> bool:
        """Whether a value is good. For a relative target the value is the ratio to the baseline."""
        bound = 1.0 + self.bound if self.relative else self.bound
        slack = 1e-9 * max(1.0, abs(bound))
        if self.operator == "<=":
            return value <= bound + slack
        if self.operator == ">=":
            return value >= bound - slack
        return abs(value - bound) <= slack

    def meets_whole(self, interval: Interval) -> bool:
        """Whether every value of an interval is good."""
        return self.meets(interval.low) and self.meets(interval.high)

    def misses_whole(self, interval: Interval) -> bool:
        """Whether no value of an interval is good."""
        bound = 1.0 + self.bound if self.relative else self.bound
        inside = interval.low <= bound <= interval.high
        return not (
            self.meets(interval.low) or self.meets(interval.high) or (self.operator == "=" and inside)
        )


def parse_target(text: object, unit: str) -> Target:
    """The target for an indicator of a unit: s, ratio or per_s. Raises ValueError with what is allowed."""
    found = _TARGET.fullmatch(str(text))
    if not found:
        raise ValueError(
            f"{text!r} is not a target; write <=, >= or = and a value, such as {_EXAMPLES[unit]}"
        )
    operator, bound = found[1], found[2]
    signed = bound.startswith(("+", "-"))
    try:
        if unit == "ratio":
            if signed:
                raise ValueError("a ratio has no relative target")
            value = parse_ratio(bound)
            if not 0.0 <= value <= 1.0:
                raise ValueError("a ratio lies between 0% and 100%")
        elif signed:
            value = parse_ratio(bound)
            if value <= -1.0:
                raise ValueError("nothing can be less than 0% of the baseline")
        else:
            value = parse_duration_s(bound) if unit == "s" else parse_rate_per_s(bound)
            if value < 0 or not math.isfinite(value):
                raise ValueError("a bound cannot be negative")
    except ValueError as error:
        raise ValueError(
            f"{text!r} is not a target here: {error}; write for example {_EXAMPLES[unit]}"
        ) from None
    if operator == "=" and (unit != "ratio" or value not in (0.0, 1.0)):
        raise ValueError(f"{text!r}: = is for exact shares only, `= 0%` or `= 100%`; use <= or >= instead")
    return Target(operator, value, signed and unit != "ratio", str(text).strip())  # type: ignore[arg-type]


def format_value(value: float | None, unit: str) -> str:
    """A value as people read it."""
    if value is None:
        return "nothing"
    if unit == "s":
        return format_duration(value)
    return format_ratio(value) if unit == "ratio" else f"{value:.3g}/s"
