"""Which spans an assertion means: the selector language of `traces`.

A segment's own selector says what a span is called; people also ask how it ended and how long it took. Every
part that is given must fit, a list means any of its items, and `*` stands for anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from slo.documents import did_you_mean
from slo.segments import SegmentTable, Selector, Where, default_table
from slo.units import Duration, format_duration

KINDS = ("Unspecified", "Internal", "Server", "Client", "Producer", "Consumer")
"""OTLP's kinds of spans by their number."""
STATUSES = ("error", "ok")


def _listed(value: Any) -> Any:
    """One item stands for a list of one; numbers and booleans are written as spans have them."""
    if value is None:
        raise ValueError(
            "nothing is given; write a value, or `*` for any. What lacks it is asked by `without`"
        )
    if isinstance(value, dict):
        raise ValueError("a mapping is given; write a value or a list of values")
    return tuple(_text(item) for item in (value if isinstance(value, list | tuple) else [value]))


def _text(item: Any) -> Any:
    if isinstance(item, bool):
        return "true" if item else "false"
    return repr(item) if isinstance(item, int | float) else item


def known_segment(value: Any) -> str:
    """The name of a segment that spans show. Raises ValueError with what is allowed."""
    return _known(value, "segment", default_table().segments)


def _segments() -> dict[str, Any]:
    return {"enum": list(default_table().segments)}


def _known(value: Any, what: str, allowed: Iterable[str]) -> str:
    names = list(allowed)
    if value not in names:
        hint = did_you_mean(str(value), names)
        raise ValueError(f"{what} {value!r} is unknown{hint}; allowed are {', '.join(names)}")
    return str(value)


_PATTERNS_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": ["string", "number", "boolean"]},
        {"type": "array", "items": {"type": ["string", "number", "boolean"]}, "minItems": 1},
    ]
}
Patterns = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    Field(min_length=1),
    BeforeValidator(_listed),
    WithJsonSchema(_PATTERNS_SCHEMA),
]
"""One value or several, as people write them; texts as spans carry them."""
SegmentName = Annotated[
    str, BeforeValidator(known_segment), Field(json_schema_extra=lambda schema: schema.update(_segments()))
]


class SpanSelector(Selector):
    """Spans by segment, name, kind, status, attributes and duration; at least one of them."""

    segment: SegmentName | None = Field(
        None, description="`request`, `embed`, `retrieve`, `search`, `context` or `generate`"
    )
    name: Patterns = Field((), description="the span's name; `*` stands for anything")
    kind: Patterns = Field((), description="`Server`, `Client`, `Internal`, `Producer` or `Consumer`")
    status: Literal["error", "ok"] | None = Field(
        None, description="`error`: it failed, as the segment counts failures; `ok`: it did not"
    )
    attributes: dict[str, Patterns] = Field(
        default_factory=dict, min_length=1, description="attributes and their values; `*` stands for anything"
    )
    longer_than: Duration | None = Field(None, description="it lasted longer than this")

    @model_validator(mode="before")
    @classmethod
    def _is_a_mapping(cls, value: Any) -> Any:
        if not isinstance(value, Mapping | SpanSelector):
            raise ValueError(f"{value!r} is not a selector; write a mapping, such as {{segment: generate}}")
        return value

    @field_validator("status", mode="before")
    @classmethod
    def _status_is_known(cls, value: Any) -> Any:
        return _known(value, "status", STATUSES)

    @field_validator("kind", mode="after")
    @classmethod
    def _kinds_are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for kind in value:
            _known(kind, "kind", KINDS[1:])
        return value

    @field_validator("longer_than", mode="after")
    @classmethod
    def _is_not_negative(cls, value: float | None) -> float | None:
        if value is not None and value < 0:
            raise ValueError("a span cannot be longer than a negative duration; write for example 2s")
        return value

    @model_validator(mode="after")
    def _selects_something(self) -> Self:
        if not self.model_fields_set:
            allowed = ", ".join(type(self).model_fields)
            raise ValueError(f"a selector without any part would take every span; give one of {allowed}")
        return self

    def spans(self, table: SegmentTable) -> Where:
        """The selector as SQL over the table `spans`; never null."""
        parts = [self.where()]
        failure = Where("StatusCode = 'Error'", ())
        if self.segment is not None:
            parts.append(table.segments[self.segment].where())
            failure = table.segments[self.segment].failure()
        if self.status is not None:
            parts.append(
                failure if self.status == "error" else Where(f"NOT {failure.sql}", failure.parameters)
            )
        if self.longer_than is not None:
            parts.append(Where("Duration > ?", (round(self.longer_than * 1e9),)))
        sql = " AND ".join(f"({part.sql})" for part in parts)
        return Where(f"coalesce({sql}, FALSE)", tuple(value for part in parts for value in part.parameters))

    def kin(self, table: SegmentTable) -> Self:
        """What this selector would take if how spans ended, how long they took and what they carry were free.

        Attributes that the service's spans are not known to carry stay, with any value: one that no span of a
        run has cannot be told from a misspelt one.
        """
        unknown = {key: ("*",) for key in self.attributes if key not in table.attributes}
        return self.model_copy(update={"status": None, "longer_than": None, "attributes": unknown})

    def __str__(self) -> str:
        """`failed generate span longer than 2 s with rag.attempt = 2`."""
        words = [self.segment or "", "span"]
        if self.status is not None:
            words.insert(0, "failed" if self.status == "error" else "unfailed")
        parts = [" ".join(word for word in words if word)]
        parts += [f"named {_either(self.name)}"] if self.name else []
        parts += [f"of kind {_either(self.kind)}"] if self.kind else []
        parts += [f"longer than {format_duration(self.longer_than)}"] if self.longer_than is not None else []
        carried = [f"{key} = {_either(values)}" for key, values in self.attributes.items()]
        return " ".join([*parts, *([f"with {' and '.join(carried)}"] if carried else [])])


def _either(values: tuple[str, ...]) -> str:
    return " or ".join(values)
