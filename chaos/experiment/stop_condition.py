"""When to give up for the users' sake, as an experiment writes it (evaluated in `chaos.run`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, ValidationInfo, WithJsonSchema, field_validator

from chaos.experiment.part import BoundedDuration, Part, WholeNumber
from slo.documents import did_you_mean
from slo.segments import JOURNEY, default_table
from slo.units import (
    DURATION_PATTERN,
    RATIO_PATTERN,
    format_duration,
    format_ratio,
    parse_duration_s,
    parse_ratio,
)

StopIndicator = Literal[
    "error_ratio", "degraded_ratio", "dropped_ratio", "p50", "p95", "p99", "ttft_p95"
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Measured:
    """How an indicator's limit is written, and the segments that have it; none means all."""

    unit: Literal["ratio", "s"]
    segments: tuple[str, ...] = ()


_MEASURED: Mapping[str, _Measured] = {
    "error_ratio": _Measured("ratio"),
    "degraded_ratio": _Measured("ratio", (JOURNEY, "request")),
    "dropped_ratio": _Measured("ratio", (JOURNEY,)),
    "p50": _Measured("s"),
    "p95": _Measured("s"),
    "p99": _Measured("s"),
    "ttft_p95": _Measured("s", (JOURNEY,)),
}
assert set(_MEASURED) == set(get_args(StopIndicator))


def _known_segment(name: str) -> str:
    known = default_table().names
    if name not in known:
        raise ValueError(f"{name!r} is not a segment{did_you_mean(name, known)}; allowed: {', '.join(known)}")
    return name


class StopCondition(Part):
    """The run is stopped when the indicator has been above its limit for the whole of a time."""

    segment: Annotated[str, AfterValidator(_known_segment)] = Field(
        description="`journey` (what users see, from attempts) or a segment that spans show"
    )
    indicator: StopIndicator = Field(description="what is watched")
    above: Annotated[
        float, WithJsonSchema({"type": "string", "pattern": f"{RATIO_PATTERN}|{DURATION_PATTERN}"})
    ] = Field(description="the limit: a ratio or a duration, as fits the indicator")
    for_s: BoundedDuration = Field(alias="for", description="how long it stays above, window after window")
    min_samples: Annotated[WholeNumber, Field(ge=1, le=10_000)] = Field(
        5, description="with fewer samples in all that time nothing is concluded"
    )

    @field_validator("indicator", mode="after")
    @classmethod
    def _exists_for_the_segment(cls, indicator: StopIndicator, info: ValidationInfo) -> StopIndicator:
        segments, segment = _MEASURED[indicator].segments, info.data.get("segment")
        if segments and segment is not None and segment not in segments:
            raise ValueError(f"{indicator} exists for {', '.join(segments)} only, not for {segment!r}")
        return indicator

    @field_validator("above", mode="before")
    @classmethod
    def _fits_the_indicator(cls, raw: object, info: ValidationInfo) -> float:
        measured = _MEASURED.get(str(info.data.get("indicator")))
        if measured is None:  # the indicator is wrong, and complained about
            return 0.0
        if measured.unit == "s":
            limit_s = parse_duration_s(raw)
            if not limit_s > 0:
                raise ValueError(f"{raw!r} is out of range; allowed is more than 0s")
            return limit_s
        ratio = parse_ratio(raw)
        if not 0 <= ratio < 1:
            raise ValueError(f"{raw!r} is out of range; allowed is at least 0% and less than 100%")
        return ratio

    @property
    def unit(self) -> Literal["ratio", "s"]:
        """What `above` counts in."""
        return _MEASURED[self.indicator].unit

    def sentence(self) -> str:
        """`journey error_ratio above 50 % for 10 s`."""
        form = format_ratio if self.unit == "ratio" else format_duration
        return f"{self.segment} {self.indicator} above {form(self.above)} for {format_duration(self.for_s)}"
