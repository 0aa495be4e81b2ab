"""A chart is well-formed SVG with every point of every line in it."""

from xml.etree import ElementTree

import pytest

from rag_service.model_server.calibration import plots
from rag_service.model_server.calibration.live.comparison import Levels, compare
from rag_service.model_server.calibration.live.figures import Figures
from rag_service.model_server.calibration.svg import log_ticks, ticks

SVG = "{http://www.w3.org/2000/svg}"


def test_a_calibration_is_drawn_with_all_its_points() -> None:
    """Two panels, p50 and p95, a circle for each measured figure, inside the picture, in light and dark."""
    levels = [
        Levels(c, Figures(0.01 * c, 0.02 * c, 0.005, 0.006), Figures(0.011 * c, 0.02 * c, 0.005, 0.006))
        for c in (1, 8, 32)
    ]
    drawn = plots.of_calibration(compare(levels), "A <title> & more")
    root = ElementTree.fromstring(drawn)
    assert root.findtext(f"{SVG}title") == "A <title> & more"
    circles = root.findall(f"{SVG}circle")
    assert len(circles) == 12 + 1, "3 levels · 4 figures, and the legend"
    for circle in circles:
        assert 0 < float(circle.attrib["cx"]) < float(root.attrib["width"])
        assert 0 < float(circle.attrib["cy"]) < float(root.attrib["height"])
    said = {text.text for text in root.iter(f"{SVG}text")}
    assert {"1", "8", "32", "p50", "p95", "measured", "First token"} <= said
    assert "prefers-color-scheme:dark" in drawn
    assert len(drawn) < 20_000


def test_one_level_can_be_drawn() -> None:
    """An axis with a single value is no division by zero."""
    figures = Figures(0.01, 0.02, 0.005, 0.006)
    ElementTree.fromstring(plots.of_calibration(compare([Levels(4, figures, figures)]), "t"))


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [(0, 10, (0, 2, 4, 6, 8, 10)), (0, 0.9, (0, 0.2, 0.4, 0.6, 0.8)), (3, 3.1, None)],
)
def test_ticks_are_round(low: float, high: float, found: tuple[float, ...] | None) -> None:
    """Some five of them, between the ends."""
    assert found is None or ticks(low, high) == pytest.approx(found)
    assert all(low <= tick <= high for tick in ticks(low, high)) and 3 <= len(ticks(low, high)) <= 7


def test_logarithmic_ticks() -> None:
    """Powers of ten over many decades, more of them over few."""
    assert log_ticks(20, 4000) == (20, 50, 100, 200, 500, 1000, 2000)
    assert log_ticks(0.5, 2e5) == (1, 10, 100, 1000, 10000, 100000)
