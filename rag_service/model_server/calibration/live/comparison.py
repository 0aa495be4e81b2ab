"""Measured beside simulated: every figure of every level, its error, and whether that is small enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rag_service.model_server.calibration.live.figures import NAMES, Figures


@dataclass(frozen=True, slots=True)
class Row:
    """One figure at one level; `served_s` is what the simulator as a process gave, where it was asked."""

    concurrency: int
    name: str
    measured_s: float
    simulated_s: float
    served_s: float | None

    @property
    def simulated_error_ratio(self) -> float:
        return self.simulated_s / self.measured_s - 1.0

    @property
    def served_error_ratio(self) -> float | None:
        return None if self.served_s is None else self.served_s / self.measured_s - 1.0

    @property
    def error_ratio(self) -> float:
        """The larger of the two, without its sign."""
        return max(abs(self.simulated_error_ratio), abs(self.served_error_ratio or 0.0))


@dataclass(frozen=True, slots=True)
class Levels:
    """What was found at one level."""

    concurrency: int
    measured: Figures
    simulated: Figures
    served: Figures | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All rows."""

    rows: tuple[Row, ...]

    @property
    def worst(self) -> Row:
        return max(self.rows, key=lambda row: row.error_ratio)

    @property
    def rms_ratio(self) -> float:
        """Root mean square of the errors in virtual time."""
        return math.sqrt(sum(row.simulated_error_ratio**2 for row in self.rows) / len(self.rows))

    def beyond(self, tolerance: float) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.error_ratio > tolerance)


def compare(levels: Sequence[Levels]) -> Comparison:
    """Four rows for each level."""
    rows = []
    for level in levels:
        served: Sequence[float | None] = (None,) * len(NAMES)
        if level.served is not None:
            served = level.served.all_s()
        for name, was_s, now_s, served_s in zip(
            NAMES, level.measured.all_s(), level.simulated.all_s(), served, strict=True
        ):
            rows.append(Row(level.concurrency, name, was_s, now_s, served_s))
    return Comparison(tuple(rows))


def table(comparison: Comparison, tolerance: float) -> str:
    """The rows as text, in milliseconds."""
    served = any(row.served_s is not None for row in comparison.rows)
    head = "  concurrent | figure          |  measured | simulated   error"
    lines = [head + (" |   process   error" if served else "")]
    for row in comparison.rows:
        line = (
            f"  {row.concurrency:10} | {row.name} |{row.measured_s * 1e3:7.2f} ms |"
            f"{row.simulated_s * 1e3:7.2f} ms {row.simulated_error_ratio:+7.1%}"
        )
        if row.served_s is not None and row.served_error_ratio is not None:
            line += f" |{row.served_s * 1e3:7.2f} ms {row.served_error_ratio:+7.1%}"
        lines.append(line + ("  <- beyond" if row.error_ratio > tolerance else ""))
    return "\n".join(lines)
