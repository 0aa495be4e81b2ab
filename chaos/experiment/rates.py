"""How many users arrive while a phase lasts: one rate, or one that changes from moment to moment.

Whoever drives the load gets a changing rate as a piecewise-linear curve of (seconds from the phase's start,
arrivals per second); two points at one moment are a jump. A sine is drawn with 32 points to a period, which
leaves its mean exact and is nowhere off by more than 0.5 % of its swing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import (
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    WithJsonSchema,
    model_validator,
)

from chaos.experiment.part import BoundedDuration, Part
from slo.units import NUMBER_PATTERN, RATE_PATTERN, format_duration, parse_rate_per_s

MAX_RATE_PER_S = 2000.0
MAX_REPETITIONS = 1_000
_POINTS_PER_PERIOD = 32

Curve = tuple[tuple[float, float], ...]


def mean_of(curve: Curve) -> float:
    """Arrivals per second over the whole of a curve."""
    area = sum((t1 - t0) * (rate0 + rate1) / 2 for (t0, rate0), (t1, rate1) in pairwise(curve))
    return area / (curve[-1][0] - curve[0][0])


def rate_at(curve: Curve, t_s: float) -> float:
    """Arrivals per second at a moment; at a jump, those after it."""
    for (t0, rate0), (t1, rate1) in pairwise(curve):
        if t0 <= t_s < t1:
            return rate0 + (rate1 - rate0) * (t_s - t0) / (t1 - t0)
    return curve[-1][1]


@dataclass(frozen=True, slots=True)
class Rate:
    """Arrivals as a multiple of the baseline rate, or absolute."""

    multiple: float | None = None
    per_s: float | None = None

    def resolve(self, baseline_per_s: float) -> float:
        """Arrivals per second."""
        if self.multiple is not None:
            return self.multiple * baseline_per_s
        return baseline_per_s if self.per_s is None else self.per_s

    @property
    def levels(self) -> Sequence[Rate]:
        """The rates that it passes: itself."""
        return (self,)

    def curve(self, baseline_per_s: float, duration_s: float) -> Curve:
        """None: a rate that stays has no corners."""
        del baseline_per_s, duration_s
        return ()

    def told(self, baseline_per_s: float) -> str:
        """For the plan that people see: `20`."""
        return f"{self.resolve(baseline_per_s):g}"


def parse_rate(text: object, least: str = "more than 0") -> Rate:
    """`10x` or `4/s`. Raises ValueError with what is allowed."""
    written = str(text).strip()
    try:
        if written.endswith("x"):
            number = float(written[:-1])
            rate = Rate(multiple=number)
        else:
            number = parse_rate_per_s(written)
            rate = Rate(per_s=number)
    except ValueError:
        raise ValueError(
            f"{text!r} is not a rate; write a multiple of baseline_rate, such as 10x, or a rate, such as 4/s"
        ) from None
    if not 0 <= number <= MAX_RATE_PER_S or (number == 0 and least == "more than 0"):
        raise ValueError(f"{text!r} is out of range; allowed is {least} and at most {MAX_RATE_PER_S:g}")
    return rate


RATE_SCHEMA: Mapping[str, Any] = {"type": "string", "pattern": rf"{RATE_PATTERN}|^\s*{NUMBER_PATTERN}x\s*$"}
ConstantRate = Annotated[Rate, PlainValidator(parse_rate), WithJsonSchema(dict(RATE_SCHEMA))]
Level = Annotated[
    Rate, PlainValidator(lambda text: parse_rate(text, "at least 0")), WithJsonSchema(dict(RATE_SCHEMA))
]
"""A rate that a curve passes; 0 is allowed where something else follows."""


class Shape(Part, ABC):
    """A rate that changes while its phase lasts."""

    @property
    @abstractmethod
    def levels(self) -> Sequence[Rate]:
        """The rates that it passes."""

    @property
    def repeats_every_s(self) -> float | None:
        """The length of a wave or an interval; none where nothing repeats."""
        return None

    @abstractmethod
    def curve(self, baseline_per_s: float, duration_s: float) -> Curve:
        """The rate over a phase of that length."""

    @abstractmethod
    def told(self, baseline_per_s: float) -> str:
        """For the plan that people see: `2 to 20`."""

    @model_validator(mode="after")
    def _somebody_arrives(self) -> Self:
        if not any(level.multiple or level.per_s for level in self.levels):
            raise ValueError("every rate in it is 0; at least one must be more, or nobody arrives")
        return self


class RampRate(Shape):
    """From one rate to another, in a straight line."""

    ramp: tuple[Level, Level] = Field(description="the rate at the phase's start, and at its end")

    @property
    def levels(self) -> Sequence[Rate]:
        return self.ramp

    def curve(self, baseline_per_s: float, duration_s: float) -> Curve:
        begin, end = (level.resolve(baseline_per_s) for level in self.ramp)
        return ((0.0, begin), (duration_s, end))

    def told(self, baseline_per_s: float) -> str:
        begin, end = (level.told(baseline_per_s) for level in self.ramp)
        return f"{begin} to {end}"


class StepsRate(Shape):
    """One rate after another, each for as long as the others."""

    steps: Annotated[tuple[Level, ...], Field(min_length=2, max_length=50)] = Field(
        description="the rates, in order (2 to 50)"
    )

    @property
    def levels(self) -> Sequence[Rate]:
        return self.steps

    def curve(self, baseline_per_s: float, duration_s: float) -> Curve:
        each_s = duration_s / len(self.steps)
        points: list[tuple[float, float]] = []
        for number, level in enumerate(self.steps):
            rate = level.resolve(baseline_per_s)
            points += [(number * each_s, rate), ((number + 1) * each_s, rate)]
        points[-1] = (duration_s, points[-1][1])
        return tuple(points)

    def told(self, baseline_per_s: float) -> str:
        return ", ".join(level.told(baseline_per_s) for level in self.steps)


class SineRate(Shape):
    """Up and down in waves; it begins with the first rate."""

    sine: tuple[Level, Level] = Field(description="the rate at the start of each wave, and at its middle")
    period: BoundedDuration = Field(description="how long a wave is")

    @property
    def levels(self) -> Sequence[Rate]:
        return self.sine

    @property
    def repeats_every_s(self) -> float | None:
        return self.period

    def curve(self, baseline_per_s: float, duration_s: float) -> Curve:
        begin, middle = (level.resolve(baseline_per_s) for level in self.sine)

        def rate(t_s: float) -> float:
            return begin + (middle - begin) * (1 - math.cos(2 * math.pi * t_s / self.period)) / 2

        step_s = self.period / _POINTS_PER_PERIOD
        times = [number * step_s for number in range(math.ceil(duration_s / step_s))]
        return tuple((t_s, rate(t_s)) for t_s in (*times, duration_s))

    def told(self, baseline_per_s: float) -> str:
        begin, middle = (level.told(baseline_per_s) for level in self.sine)
        return f"{begin} to {middle} and back every {format_duration(self.period)}"


class BurstRate(Shape):
    """The first rate, and for a moment at the start of each interval the second."""

    burst: tuple[Level, Level] = Field(description="the rate between bursts, and in them")
    every: BoundedDuration = Field(description="from burst to burst; the phase begins with one")
    lasting: BoundedDuration = Field(description="how long a burst is; less than `every`")

    @property
    def levels(self) -> Sequence[Rate]:
        return self.burst

    @property
    def repeats_every_s(self) -> float | None:
        return self.every

    @model_validator(mode="after")
    def _bursts_end(self) -> Self:
        if self.lasting >= self.every:
            lasting, every = format_duration(self.lasting), format_duration(self.every)
            raise ValueError(f"lasting ({lasting}) must be less than every ({every}), or bursts never end")
        return self

    def curve(self, baseline_per_s: float, duration_s: float) -> Curve:
        between, inside = (level.resolve(baseline_per_s) for level in self.burst)
        points: list[tuple[float, float]] = []
        for number in range(math.ceil(duration_s / self.every)):
            start_s = number * self.every
            quiet_s, next_s = min(start_s + self.lasting, duration_s), min(start_s + self.every, duration_s)
            points += [(start_s, inside), (quiet_s, inside)]
            if quiet_s < next_s:
                points += [(quiet_s, between), (next_s, between)]
        return tuple(points)

    def told(self, baseline_per_s: float) -> str:
        between, inside = (level.told(baseline_per_s) for level in self.burst)
        lasting, every = format_duration(self.lasting), format_duration(self.every)
        return f"{between}, and {inside} for {lasting} every {every}"


SHAPES: Mapping[str, type[Shape]] = {
    "ramp": RampRate, "steps": StepsRate, "sine": SineRate, "burst": BurstRate
}  # fmt: skip
FORMS = (
    "{ramp: [1x, 10x]}, {steps: [1x, 5x, 10x]}, {sine: [1x, 4x], period: 20s} "
    "or {burst: [1x, 10x], every: 10s, lasting: 2s}"
)


def _which(raw: Any) -> str | None:
    if not isinstance(raw, Mapping):
        return None if isinstance(raw, list) else "Rate"
    named = [kind.__name__ for key, kind in SHAPES.items() if key in raw]
    return named[0] if len(named) == 1 else None


PhaseRate = Annotated[
    Annotated[ConstantRate, Tag("Rate")]
    | Annotated[RampRate, Tag("RampRate")]
    | Annotated[StepsRate, Tag("StepsRate")]
    | Annotated[SineRate, Tag("SineRate")]
    | Annotated[BurstRate, Tag("BurstRate")],
    Discriminator(
        _which,
        custom_error_type="rate",
        custom_error_message=f"not a rate; write 10x, 4/s, {FORMS}",
    ),
]
"""What a phase's `rate` may be."""
