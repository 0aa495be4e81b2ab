"""The experiment language: what a YAML file may say, and what it means in numbers.

Everything is checked before anything starts, so that a run never dies half-way of a typo and never
quietly ignores a key.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from chaos.experiment.negative_control import NegativeControls
from chaos.experiment.part import BoundedDuration, Name, Part, Scalar, WholeNumber
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


def _objectives(written: object) -> object:
    is_list = isinstance(written, list) and all(isinstance(one, dict) for one in written)
    if not is_list and not isinstance(written, str):
        form = "{name: answered, segment: journey, indicator: good_ratio, target: '>= 99%'}"
        raise ValueError(f"must be `default`, the path of a file, or a list of objectives, such as {form}")
    return written


class Load(Part):
    """Who arrives, how often."""

    baseline_rate: Annotated[
        float, BeforeValidator(_baseline), WithJsonSchema({"type": "string", "pattern": RATE_PATTERN})
    ] = Field(description="arrivals of journeys, open loop: users do not wait for each other")
    arrivals: Literal["poisson", "constant"] = Field(
        "poisson", description="`poisson`: as chance brings them; `constant`: evenly spaced along the rate"
    )
    journeys: dict[Name, Annotated[float, Field(gt=0, le=1e6, strict=True)]] = Field(
        min_length=1, description="journeys and their weights"
    )
    patience: BoundedDuration = Field(10.0, description="when a user gives up")
    max_in_flight: Annotated[WholeNumber, Field(ge=1, le=20_000)] = Field(
        2000, description="arrivals beyond this are dropped, and counted as dropped"
    )
    seed: Annotated[WholeNumber, Field(ge=0, le=2**53)] = Field(
        1, description="the same seed gives the same arrivals"
    )


class Phase(Part):
    """A named stretch of the run."""

    name: Name = Field(description="unique; objectives refer to it")
    duration_s: BoundedDuration = Field(alias="for", description="how long")
    rate: PhaseRate = Field(
        Rate(multiple=1.0),
        description="a multiple of the baseline rate, a rate, or one that changes",
    )
    faults: tuple[str, ...] = Field(
        (), max_length=100, description="the faults that are in during this phase"
    )
    judged: bool = Field(True, description="whether objectives apply")

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

    api_version: Literal["ragquake/v1"] = Field(alias="apiVersion", description="`ragquake/v1`")
    kind: Literal["Experiment"] = Field(description="`Experiment`")
    extends: str | None = Field(
        None, description="the experiment that this one differs from: a name, or a path from this file"
    )
    abstract: bool = Field(False, description="`true` for a base that cannot run itself and is not listed")
    variables: dict[str, Scalar] = Field(
        default_factory=dict, description="values by name, used as `${name}` in any value"
    )
    name: Name = Field(description="lower-case letters, digits, `-` and `_`")
    title: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        description="one line, shown on top of the report"
    )
    owner: Annotated[str, Field(min_length=1, max_length=100)] = Field(
        description="who is asked when it fails"
    )
    hypothesis: Annotated[str, Field(min_length=1, max_length=2000)] = Field(
        description="what you claim will hold, in words"
    )
    incidents: tuple[str, ...] = Field((), max_length=100, description="public incidents that this replays")
    load: Load = Field(description="who arrives, how often")
    repeats: Annotated[WholeNumber, Field(ge=1, le=50)] = Field(
        1, description="how many runs, each with a seed of its own (`seed`, `seed + 1`, …)"
    )
    service: dict[str, Scalar] = Field(
        default_factory=dict, description='settings of the service under test, such as `resilience: "off"`'
    )
    faults: dict[Name, dict[str, Any]] = Field(
        default_factory=dict, max_length=100, description="what can be done to a dependency, by name"
    )
    phases: Annotated[tuple[Phase, ...], Field(min_length=1, max_length=200)] = Field(
        description="stretches of the run, laid end to end"
    )
    stop_when: tuple[StopCondition, ...] = Field((), max_length=50, description="when to give up early")
    objectives: Annotated[str | list[dict[str, Any]], BeforeValidator(_objectives)] = Field(
        "default", description="`default`, the path of a file from this one, or a list of objectives"
    )
    assertions: tuple[dict[str, Any], ...] = Field((), max_length=100, description="rules over the traces")
    negative_controls: NegativeControls = Field(
        (), alias="negative_control", description="the arm that must fail, or a list of them"
    )

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
