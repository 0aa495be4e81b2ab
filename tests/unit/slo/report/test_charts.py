"""The chart document: self-contained, renumbered, and with a row for everything that happened."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from slo.report import charts, rows
from slo.timeline import SegmentSeries, Timeline

LATENCIES = st.lists(st.none() | st.floats(0, 1e5) | st.just(math.inf), min_size=1, max_size=20)


def models(chart: charts.Chart, name: str) -> list[dict[str, Any]]:
    """Every model of a kind in a chart's document."""
    found: list[dict[str, Any]] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("type") == "object" and node.get("name") == name:
                found.append(node)
            for item in node.values():
                walk(item)
        elif isinstance(node, list):
            for item in node:
                walk(item)

    walk(chart.document)
    return found


def captions(chart: charts.Chart) -> list[str]:
    return [label["attributes"]["text"] for label in models(chart, "Label")]


def test_each_segment_has_a_row_in_the_order_of_an_answer(timeline: Timeline) -> None:
    """Rows follow the path of an answer, a foreign segment comes after them, outcomes come last."""
    segments = dict(reversed(timeline.segments.items())) | {"rerank": timeline.segments["embed"]}
    chart = charts.timeline_chart(replace(timeline, segments=segments))
    assert captions(chart) == [
        "journey", "request", "embed", "retrieve", "search", "context", "generate", "rerank",
        "answers per second",
    ]  # fmt: skip


def test_no_code_travels_in_the_document(timeline: Timeline) -> None:
    """The page forbids eval, so the chart may hold no model that compiles a string."""
    text = charts.timeline_chart(timeline).to_json()
    assert "CustomJS" not in text
    assert "FuncTick" not in text


def test_every_reference_is_to_a_model_defined_before_it(timeline: Timeline) -> None:
    """Bokeh reads the document front to back; renumbering and printing keep its order."""
    chart = json.loads(charts.timeline_chart(timeline).to_json())
    defined: set[str] = set()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "id" in node:
                if node.get("type") == "object":
                    defined.add(node["id"])
                else:
                    assert node["id"] in defined
            for item in node.values():
                walk(item)
        elif isinstance(node, list):
            for item in node:
                walk(item)

    walk(chart["document"]["roots"])
    assert len(defined) > 50
    assert all(name.startswith("m") for name in defined)


def test_formulas_in_names_stay_text(timeline: Timeline) -> None:
    """Bokeh would fetch MathJax for a caption between $$; such a name is drawn as text."""
    chart = charts.timeline_chart(replace(timeline, segments={"$$x^2$$": timeline.segments["embed"]}))
    assert captions(chart)[0] == "$ $x^2$ $"


def test_an_hour_of_seconds_stays_under_three_megabytes(timeline: Timeline) -> None:
    """3,600 buckets with all segments still fit beside the charting library."""
    n = 3600
    series = SegmentSeries((9,) * n, (0,) * n, tuple(0.1 + i / n for i in range(n)), (0.3,) * n)
    long = replace(
        timeline,
        at_s=tuple(float(i) for i in range(n)),
        segments=dict.fromkeys(timeline.segments, series),
        outcomes=dict.fromkeys(timeline.outcomes, (1,) * n),
        arrivals=(9,) * n,
    )
    size = len(charts.timeline_chart(long).to_json()) + len(charts.script())
    assert size < 2_900_000


def test_a_run_without_anything_but_phases_can_be_drawn(timeline: Timeline) -> None:
    """No segment, no breaker, no fault and no answer make a poor chart, not an error."""
    empty = replace(timeline, segments={}, outcomes={}, breakers={}, faults=(), arrivals=(0,) * 150)
    assert captions(charts.timeline_chart(empty)) == ["answers per second"]


@given(LATENCIES)
def test_a_logarithmic_range_always_exists(latencies_s: list[float | None]) -> None:
    """Zeros, gaps and infinities never give a range that a logarithm cannot show."""
    low_s, high_s = rows.bounds(latencies_s)
    assert 0 < low_s < high_s < math.inf
    assert high_s / low_s >= 10
    shown = [p for p in latencies_s if p is not None and rows.SHORTEST_S <= p < math.inf]
    assert all(low_s < p < high_s for p in shown)


@given(LATENCIES)
def test_ticks_are_few_and_inside_the_range(latencies_s: list[float | None]) -> None:
    """A row of 78 pixels has room for three labels."""
    low_s, high_s = rows.bounds(latencies_s)
    ticks = rows.ticks(low_s, high_s)
    assert len(ticks) <= 3
    assert all(low_s < tick < high_s for tick in ticks)
