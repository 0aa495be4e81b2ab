"""What is drawn: a live server's calibration, and the published curves."""

from __future__ import annotations

from collections.abc import Sequence

from rag_service.model_server.calibration.curve import Comparison as CurveComparison
from rag_service.model_server.calibration.live.comparison import Comparison
from rag_service.model_server.calibration.svg import Axis, Line, Panel, chart

_MS = 1e3


def of_calibration(comparison: Comparison, title: str) -> str:
    """Two panels, first token and time per token, over the number of callers."""
    callers = tuple(sorted({float(row.concurrency) for row in comparison.rows}))
    x = Axis("requests at a time", log=len(callers) > 1, ticks=callers)
    panels = []
    for what, heading in (("first token", "First token"), ("token time", "Time per output token")):
        lines = []
        for name in ("p50", "p95"):
            rows = [row for row in comparison.rows if row.name == f"{what} {name}"]
            lines.append(
                Line(
                    name,
                    tuple((row.concurrency, row.measured_s * _MS) for row in rows),
                    tuple((row.concurrency, row.simulated_s * _MS) for row in rows),
                )
            )
        panels.append(Panel(heading, x, Axis("ms"), tuple(lines)))
    return chart(title, panels, "measured", "simulated, fitted")


def of_curves(comparisons: Sequence[CurveComparison]) -> str:
    """Two panels over the offered rate; the first token's is logarithmic, as it jumps a hundredfold."""
    token, first = [], []
    for one in comparisons:
        points = one.points
        token.append(
            Line(
                one.curve.preset,
                tuple((p.published.offered_per_s, p.published.token_s * _MS) for p in points),
                tuple((p.published.offered_per_s, p.simulated.token_s * _MS) for p in points),
            )
        )
        first.append(
            Line(
                one.curve.preset,
                tuple((p.published.offered_per_s, p.published.first_token_p50_s * _MS) for p in points),
                tuple((p.published.offered_per_s, p.simulated.first_token_p50_s * _MS) for p in points),
            )
        )
    x = Axis("offered requests a second")
    return chart(
        "The H100 presets beside what was published",
        (
            Panel("Time per output token", x, Axis("ms"), tuple(token)),
            Panel("First token, median", x, Axis("ms", log=True), tuple(first)),
        ),
        "published",
        "simulated",
    )
