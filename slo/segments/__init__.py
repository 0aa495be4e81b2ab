"""Segments: the named parts of an answer's path, found among spans by a table that is data.

`slo` knows no service. The table says which spans are which segment, so that a service with other span
names is judged by writing another table, and DuckDB does the selecting. The segment `journey` is not in
the table: it is what the client saw, and comes from attempts.jsonl.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from slo.documents import read_document

JOURNEY = "journey"
DEFAULT = Path(__file__).with_name("default.yaml")


class Selector(BaseModel):
    """Which spans are meant: every part that is given must fit; a list means any of its items."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    attributes: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    def where(self) -> Where:
        """The selector as SQL over the table `spans`, with its parameters."""
        clauses: list[str] = []
        parameters: list[str | float] = []
        for column, patterns in (("SpanName", self.name), ("SpanKind", self.kind)):
            if patterns:
                clauses.append(f"({' OR '.join(f'{column} LIKE ? ESCAPE chr(92)' for _ in patterns)})")
                parameters += [_like(pattern) for pattern in patterns]
        for key, patterns in self.attributes.items():
            clauses.append(f"({' OR '.join('SpanAttributes[?] LIKE ? ESCAPE chr(92)' for _ in patterns)})")
            for pattern in patterns:
                parameters += [key, _like(pattern)]
        return Where(" AND ".join(clauses) or "TRUE", tuple(parameters))


class Segment(Selector):
    """A segment's selector, what else counts as failure in it, and the breaker that guards it."""

    failed: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    guarded_by: str | None = None

    def failure(self) -> Where:
        """SQL that is true for the spans that failed."""
        clauses = ["StatusCode = 'Error'"]
        parameters: list[str | float] = []
        for key, values in self.failed.items():
            clauses.append(f"coalesce(SpanAttributes[?] IN ({', '.join('?' for _ in values)}), FALSE)")
            parameters += [key, *values]
        return Where(f"({' OR '.join(clauses)})", tuple(parameters))


class TreeColumns(BaseModel):
    """Which attributes a trace's tree shows: how a span ended, and what else is worth a look."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()


class SegmentTable(BaseModel):
    """All segments that spans can show, in the order of an answer's path.

    `attributes` are those that spans may carry: what is none of them may be a slip of the pen.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    segments: dict[str, Segment]
    breakers: Selector
    tree: TreeColumns = TreeColumns()
    attributes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every segment that objectives may name."""
        return (JOURNEY, *self.segments)

    @property
    def guards(self) -> tuple[str, ...]:
        """Every circuit breaker that guards a segment."""
        return tuple(one.guarded_by for one in self.segments.values() if one.guarded_by)

    def behind(self, breaker: str) -> str | None:
        """The segment that a circuit breaker guards."""
        return next((name for name, one in self.segments.items() if one.guarded_by == breaker), None)


@dataclass(frozen=True, slots=True)
class Where:
    """A piece of SQL and the values for its question marks."""

    sql: str
    parameters: tuple[str | float, ...]


@cache
def default_table() -> SegmentTable:
    """The table for the reference service."""
    return read_document(DEFAULT).validate(SegmentTable)


def _like(pattern: str) -> str:
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")
