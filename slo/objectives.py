"""Objectives files: which indicator of which segment must be how good in which phase.

The language is design section 8. Unknown keys are refused, because an objective that is quietly ignored
is a pass that nobody earned; every problem is named with its file, line, key, value and what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from slo.bundle import Bundle
from slo.documents import DocumentError, did_you_mean, read_document
from slo.indicators import Indicator, all_indicators
from slo.segments import SegmentTable, default_table
from slo.segments.foreign import read_table
from slo.target import Target, parse_target

DEFAULT = Path(__file__).with_name("default_objectives.yaml")


class Objective(BaseModel):
    """One line of an objectives file.

    `in` replaces the target in some phases and `phases` restricts the objective to some; without it, it
    holds in every judged phase. `warn` is a stricter target, and its presence allows a warning where the
    interval decides nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,59}$")
    segment: str
    indicator: str
    target: str
    in_: dict[str, str] = Field(default_factory=dict, alias="in")
    phases: tuple[str, ...] | None = Field(default=None, min_length=1)
    warn: str | None = None

    @model_validator(mode="after")
    def _known(self) -> Self:
        indicators, segments = all_indicators(), default_table().names
        if self.segment not in segments:
            hint = did_you_mean(self.segment, segments)
            raise ValueError(f"segment {self.segment!r} is unknown{hint}; allowed are {', '.join(segments)}")
        indicator = indicators.get(self.indicator)
        if indicator is None:
            hint, known = did_you_mean(self.indicator, indicators), ", ".join(indicators)
            raise ValueError(f"indicator {self.indicator!r} is unknown{hint}; allowed are {known}")
        if indicator.segments is not None and self.segment not in indicator.segments:
            allowed = ", ".join(sorted(indicator.segments))
            raise ValueError(f"{self.indicator} exists for {allowed} only, not for {self.segment!r}")
        for text in (self.target, *self.in_.values(), *([self.warn] if self.warn else [])):
            parse_target(text, indicator.unit)
        return self

    @property
    def measured_by(self) -> Indicator:
        """The indicator itself."""
        return all_indicators()[self.indicator]

    def target_in(self, phase: str) -> Target | None:
        """The target in a phase; None where the objective does not hold."""
        if self.phases is not None and phase not in self.phases:
            return None
        return parse_target(self.in_.get(phase, self.target), self.measured_by.unit)

    @property
    def warning(self) -> Target | None:
        """The stricter target below which there is a warning."""
        return parse_target(self.warn, self.measured_by.unit) if self.warn else None


class Objectives(BaseModel):
    """An objectives file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_version: Literal["ragquake/v1"] = Field(alias="apiVersion")
    kind: Literal["Objectives"]
    segments: Literal["default"] | SegmentTable = "default"
    """`default`, or the table itself; in a file also the name of a file beside it."""
    objectives: tuple[Objective, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [one.name for one in self.objectives]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"objectives have the same name: {', '.join(twice)}; give each its own")
        return self

    @property
    def table(self) -> SegmentTable:
        """The segment table that the objectives are about."""
        return self.segments if isinstance(self.segments, SegmentTable) else default_table()

    def over(self, table: SegmentTable) -> Objectives:
        """The same objectives for a service with other spans."""
        return self.model_copy(update={"segments": table})

    def data(self) -> dict[str, Any]:
        """Plain values that read back as these objectives, for the copy in the bundle."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True) | {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "segments": self.table.model_dump(mode="json") if self.table is self.segments else "default",
        }


def load(path: Path) -> Objectives:
    """Read an objectives file. Raises slo.documents.DocumentError with every problem."""
    document = read_document(path)
    named = document.data.get("segments")
    if isinstance(named, str) and named != "default":
        table = read_table(path.parent / named)
        document.data["segments"] = "default"
        return document.validate(Objectives).over(table)
    return document.validate(Objectives)


def table_of(bundle: Bundle) -> SegmentTable:
    """The segment table by which a bundle is read; the default one where its objectives are unreadable."""
    try:
        return load(bundle.objectives).table
    except DocumentError:
        return default_table()


def load_default() -> Objectives:
    """The objectives that come with ragquake, sized for a laptop of two cores."""
    return load(DEFAULT)


def from_list(objectives: Sequence[Mapping[str, Any]]) -> Objectives:
    """Objectives that stand inline in an experiment. Raises pydantic.ValidationError (`objectives[i]…`)."""
    return Objectives.model_validate(
        {"apiVersion": "ragquake/v1", "kind": "Objectives", "objectives": list(objectives)}
    )
