"""The experiment language: what a YAML file may say, and what it means in numbers.

Everything is checked before anything starts, so that a run never dies half-way of a typo and never
quietly ignores a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from chaos.experiment.negative_control import NegativeControls, Setting
from chaos.experiment.part import BoundedDuration, Name, Part
from chaos.experiment.stop_condition import StopCondition
from slo.units import parse_rate_per_s

MAX_RATE_PER_S = 2000.0


def _multiple_or_rate(text: object) -> Rate:
    written = str(text).strip()
    if written.endswith("x"):
        try:
            return Rate(multiple=_positive(float(written[:-1])))
        except ValueError:
            pass
    else:
        try:
            return Rate(per_s=_positive(parse_rate_per_s(written)))
        except ValueError:
            pass
    raise ValueError(
        f"{text!r} is not a rate; write a multiple of baseline_rate, such as 10x, or a rate, such as 4/s"
    )


def _positive(number: float) -> float:
    if not 0 < number <= MAX_RATE_PER_S:
        raise ValueError(f"{number:g} is out of range; allowed is more than 0 and at most {MAX_RATE_PER_S:g}")
    return number


@dataclass(frozen=True, slots=True)
class Rate:
    """Arrivals as a multiple of the baseline rate, or absolute."""

    multiple: float | None = None
    per_s: float | None = None

    def resolve(self, baseline_per_s: float) -> float:
        """Arrivals per second."""
        return self.per_s if self.per_s is not None else (self.multiple or 1.0) * baseline_per_s


PhaseRate = Annotated[Rate, BeforeValidator(_multiple_or_rate)]


class Load(Part):
    """Who arrives, how often."""

    baseline_rate: Annotated[float, BeforeValidator(lambda v: _positive(parse_rate_per_s(v)))]
    journeys: dict[Name, Annotated[float, Field(gt=0, le=1e6)]] = Field(min_length=1)
    patience: BoundedDuration = 10.0
    max_in_flight: Annotated[int, Field(ge=1, le=20_000)] = 2000
    seed: Annotated[int, Field(ge=0)] = 1


class Phase(Part):
    """A named stretch of the run."""

    name: Name
    duration_s: BoundedDuration = Field(alias="for")
    rate: PhaseRate = Rate(multiple=1.0)
    faults: tuple[str, ...] = ()
    judged: bool = True


class Experiment(Part):
    """One experiment, as its file says it."""

    api_version: Literal["ragquake/v1"] = Field(alias="apiVersion")
    kind: Literal["Experiment"]
    name: Name
    title: Annotated[str, Field(min_length=1, max_length=200)]
    owner: Annotated[str, Field(min_length=1, max_length=100)]
    hypothesis: Annotated[str, Field(min_length=1, max_length=2000)]
    incidents: tuple[str, ...] = ()
    load: Load
    repeats: Annotated[int, Field(ge=1, le=50)] = 1
    service: dict[str, Setting] = Field(default_factory=dict)
    faults: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    phases: Annotated[tuple[Phase, ...], Field(min_length=1, max_length=200)]
    stop_when: tuple[StopCondition, ...] = ()
    objectives: str | list[dict[str, Any]] = "default"
    assertions: tuple[dict[str, Any], ...] = ()
    negative_controls: NegativeControls = Field((), alias="negative_control")

    @model_validator(mode="after")
    def _phase_names_are_unique(self) -> Experiment:
        names = [phase.name for phase in self.phases]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"phases: the name {twice[0]!r} stands twice; phases need names of their own")
        return self

    @model_validator(mode="after")
    def _mechanisms_are_unique(self) -> Experiment:
        names = [control.mechanism for control in self.negative_controls]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"negative_control: the mechanism {twice[0]!r} stands twice; name each its own")
        return self

    @property
    def duration_s(self) -> float:
        return sum(phase.duration_s for phase in self.phases)
