"""The experiment language: what a YAML file may say, and what it means in numbers.

Everything is checked before anything starts, so that a run never dies half-way of a typo and never
quietly ignores a key.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from chaos.experiment.negative_control import NegativeControls
from chaos.experiment.part import BoundedDuration, Name, Part, Scalar
from chaos.experiment.rates import MAX_RATE_PER_S, MAX_REPETITIONS, PhaseRate, Rate
from chaos.experiment.stop_condition import StopCondition
from slo.units import RATE_PATTERN, format_duration, parse_rate_per_s


def _baseline(text: object) -> float:
    rate_per_s = parse_rate_per_s(text)
    if not 0 < rate_per_s <= MAX_RATE_PER_S:
        raise ValueError(
            f"{text!r} is out of range; allowed is more than 0 and at most {MAX_RATE_PER_S:g} arrivals/s"
        )
    return rate_per_s


class Load(Part):
    """Who arrives, how often."""

    baseline_rate: Annotated[
        float, BeforeValidator(_baseline), WithJsonSchema({"type": "string", "pattern": RATE_PATTERN})
    ]
    arrivals: Literal["poisson", "constant"] = "poisson"
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

    @model_validator(mode="after")
    def _repetitions_are_bounded(self) -> Phase:
        every_s = None if isinstance(self.rate, Rate) else self.rate.repeats_every_s
        if every_s is not None and self.duration_s / every_s > MAX_REPETITIONS:
            raise ValueError(
                f"its rate repeats every {format_duration(every_s)} for {format_duration(self.duration_s)}; "
                f"at most {MAX_REPETITIONS} repetitions are allowed"
            )
        return self


class Experiment(Part):
    """One experiment, as its file says it."""

    api_version: Literal["ragquake/v1"] = Field(alias="apiVersion")
    kind: Literal["Experiment"]
    extends: str | None = None
    abstract: bool = False
    variables: dict[str, Scalar] = Field(default_factory=dict)
    name: Name
    title: Annotated[str, Field(min_length=1, max_length=200)]
    owner: Annotated[str, Field(min_length=1, max_length=100)]
    hypothesis: Annotated[str, Field(min_length=1, max_length=2000)]
    incidents: tuple[str, ...] = ()
    load: Load
    repeats: Annotated[int, Field(ge=1, le=50)] = 1
    service: dict[str, Scalar] = Field(default_factory=dict)
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
