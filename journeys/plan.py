"""The plan that the runner hands over: what to drive, how hard, for how long, where to write.

It is a file because the journeys run as a process of their own (Locust patches the interpreter). Its
shape is fixed in docs/design/0001 §3; everything in it is checked before the first request.
"""

from __future__ import annotations

import os
from itertools import pairwise
from math import isclose
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic import field_validator as field

from journeys.rate_curve import RateCurve

MAX_ARRIVALS = 1_000_000
"""A schedule is held in memory whole; a million arrivals are about 300 MB and far beyond one process."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]
Weight = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class PlanError(ValueError):
    """The plan cannot be driven; the message says which value, what is allowed and what to do."""


class Phase(BaseModel):
    """A stretch of the run at one arrival rate, or along a curve; offsets count from t0.

    The points of `curve` are (seconds from `start_s`, arrivals per second), from 0 to the phase's end, with
    straight lines between them; two at one moment are a jump. `rate_per_s` is then its mean.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    start_s: Seconds
    end_s: PositiveSeconds
    rate_per_s: Rate
    curve: tuple[tuple[Seconds, Rate], ...] = Field(default=(), max_length=100_000)

    @model_validator(mode="after")
    def _runs_forward(self) -> Phase:
        if self.end_s <= self.start_s:
            raise ValueError(
                f"phase {self.name!r} ends at {self.end_s} s but starts at {self.start_s} s; "
                "end_s must be greater than start_s"
            )
        return self

    @model_validator(mode="after")
    def _curve_spans_the_phase(self) -> Phase:
        if not self.curve:
            return self
        times, length_s = [t_s for t_s, _ in self.curve], self.end_s - self.start_s
        if times[0] != 0 or not isclose(times[-1], length_s, abs_tol=1e-6) or times != sorted(times):
            raise ValueError(
                f"the curve of phase {self.name!r} goes from {times[0]:g} s to {times[-1]:g} s; "
                f"its times must ascend from 0 s to the phase's length, {length_s:g} s"
            )
        mean = RateCurve(self.curve).expected / length_s
        if not isclose(mean, self.rate_per_s, rel_tol=1e-6, abs_tol=1e-9):
            raise ValueError(
                f"rate_per_s of phase {self.name!r} is {self.rate_per_s:g}; the mean of its curve is {mean:g}"
            )
        return self

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """The curve; of a phase without one, the two ends of a level line."""
        return self.curve or ((0.0, self.rate_per_s), (self.end_s - self.start_s, self.rate_per_s))


class Plan(BaseModel):
    """Everything that the journeys need to know."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_id: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    target: str
    seed: int
    arrivals: Literal["poisson", "constant"] = "poisson"
    phases: tuple[Phase, ...] = Field(min_length=1, max_length=1000)
    journeys: dict[Name, Weight] = Field(min_length=1)
    max_in_flight: int = Field(default=2000, ge=1, le=100_000)
    patience_s: PositiveSeconds = 10.0
    drain_s: Seconds = 15.0
    questions: Path | None = None
    redact: bool = False
    attempts: Path
    started: Path | None = None
    ready: Path | None = None
    start: Path | None = None

    @field("target")
    @classmethod
    def _is_http(cls, target: str) -> str:
        parts = urlsplit(target)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{target!r} is not an address; give http://HOST:PORT or https://HOST:PORT")
        if parts.query or parts.fragment or parts.username:
            raise ValueError(f"{target!r} may hold a scheme, a host, a port and a path, nothing else")
        return target.rstrip("/")

    @model_validator(mode="after")
    def _phases_follow_each_other(self) -> Plan:
        names = [phase.name for phase in self.phases]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"phase names must differ; {', '.join(map(repr, twice))} is there twice")
        for before, after in pairwise(self.phases):
            if after.start_s < before.end_s:
                raise ValueError(
                    f"phase {after.name!r} starts at {after.start_s} s, before {before.name!r} ends at "
                    f"{before.end_s} s; order phases by start_s and let none overlap"
                )
        expected = sum(phase.rate_per_s * (phase.end_s - phase.start_s) for phase in self.phases)
        if expected > MAX_ARRIVALS:
            raise ValueError(
                f"the phases add up to {expected:,.0f} arrivals; at most {MAX_ARRIVALS:,} are allowed: "
                "lower rate_per_s or shorten a phase"
            )
        return self

    @property
    def end_s(self) -> float:
        """Where the last phase ends."""
        return self.phases[-1].end_s

    def phase_at(self, offset_s: float) -> str | None:
        """The phase that an offset from t0 falls into; None between and after the phases."""
        for phase in self.phases:
            if phase.start_s <= offset_s < phase.end_s:
                return phase.name
        return None


def load_plan(path: Path) -> Plan:
    """Read a plan file, or say what is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PlanError(f"cannot read the plan {path}: {os.strerror(error.errno or 0)}") from error
    try:
        return Plan.model_validate_json(text)
    except ValidationError as error:
        lines = [f"{_where(problem['loc'])}: {problem['msg']}" for problem in error.errors()]
        raise PlanError(f"the plan {path} is wrong: " + "; ".join(lines)) from error


def _where(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "plan"
