"""The table shows every figure with its error, and what is beyond the tolerance is marked."""

import pytest

from rag_service.model_server.calibration.live.comparison import Levels, compare, table
from rag_service.model_server.calibration.live.figures import Figures, Sample, figures

MEASURED = Figures(0.1, 0.2, 0.010, 0.020)


def test_errors_are_relative_to_what_was_measured() -> None:
    """The larger of the simulated and the served one counts."""
    found = compare([Levels(8, MEASURED, Figures(0.11, 0.2, 0.010, 0.015), Figures(0.1, 0.26, 0.01, 0.02))])
    assert [row.error_ratio for row in found.rows] == pytest.approx([0.1, 0.3, 0.0, 0.25])
    assert (found.worst.name, found.worst.concurrency) == ("first token p95", 8)
    assert [row.name for row in found.beyond(0.2)] == ["first token p95", "token time p95"]
    assert found.beyond(0.3001) == ()


def test_the_table_marks_what_is_beyond() -> None:
    """One row for each figure of each level."""
    levels = [Levels(1, MEASURED, MEASURED), Levels(8, MEASURED, Figures(0.1, 0.3, 0.010, 0.020))]
    lines = table(compare(levels), 0.2).splitlines()
    assert len(lines) == 9 and "process" not in lines[0]
    assert [line for line in lines if "beyond" in line] == [lines[6]]
    assert "100.00 ms" in lines[1] and "+50.0%" in lines[6]
    assert "process" in table(compare([Levels(1, MEASURED, MEASURED, MEASURED)]), 0.2)


def test_the_figures_are_percentiles_of_the_requests() -> None:
    """Median and 95th of both times."""
    samples = [Sample(10, 5, first / 100, first / 1000) for first in range(101)]
    assert figures(samples).all_s() == pytest.approx((0.5, 0.95, 0.05, 0.095))
