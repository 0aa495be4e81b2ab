"""The rows of the timeline: figures that share one clock, one crosshair, and the marks of phases and faults.

One row per segment, each with its own logarithmic scale, because the question is *where it breaks*: seven
lines in one frame hide the one that moved. Phases, faults and breaker states are lanes above them; arrivals
and what became of them are a stack below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from bokeh.core.properties import value
from bokeh.models import (
    BoxAnnotation,
    ColumnDataSource,
    CrosshairTool,
    FixedTicker,
    HoverTool,
    Label,
    Range1d,
    Span,
)
from bokeh.plotting import figure

from slo.report import wording
from slo.report.lanes import lanes_of
from slo.report.palette import light, outcome_shade
from slo.timeline import SegmentSeries, Timeline
from slo.units import format_duration

Floats = npt.NDArray[np.float32]
FONT = "system-ui, -apple-system, Segoe UI, Roboto, sans-serif"
SEGMENT_PX = 78
OUTCOMES_PX = 190
LANE_PX = 26
LEFT_PX = 74
SHORTEST_S = 1e-9
"""Spans are measured in nanoseconds; what is shorter cannot be shown on a logarithm."""
_DECADES_S = tuple(10.0**exponent for exponent in range(-6, 6))
_TICKS_S = tuple(mantissa * decade for decade in _DECADES_S for mantissa in (1, 3))


class Rows:
    """Makes the rows of one timeline."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        last_s = timeline.at_s[-1] + timeline.bucket_s if timeline.at_s else timeline.bucket_s
        end_s = max([last_s, *(phase.end_s for phase in timeline.phases)])
        self._clock = Range1d(0, end_s, bounds=(0, end_s))
        self._end_s = end_s
        self._follow = Span(dimension="height", line_color=light("edge"), line_width=1)
        self._at_s = np.asarray(timeline.at_s, dtype=np.float32) + np.float32(timeline.bucket_s / 2)

    def lanes(self) -> Any:
        """Phases, faults and breakers as bars, one lane each."""
        lanes = lanes_of(self._timeline, self._end_s)
        plot = self._frame(
            LANE_PX * len(lanes) + 40,
            x_axis_location="above",
            y_range=Range1d(len(lanes) - 0.45, -0.55),
        )
        bars = [(place, bar) for place, lane in enumerate(lanes) for bar in lane.bars]
        data = {
            "lane": [place for place, _ in bars],
            "start": [bar.start_s for _, bar in bars],
            "end": [bar.end_s for _, bar in bars],
            "name": [bar.name for _, bar in bars],
            "fill": [light(bar.shade) for _, bar in bars],
        }
        for width, captions in (("wide", [b.wide for _, b in bars]), ("narrow", [b.narrow for _, b in bars])):
            data[f"{width}_text"] = [caption.text for caption in captions]
            data[f"{width}_at"] = [caption.at_s for caption in captions]
            data[f"{width}_align"] = [caption.align for caption in captions]
            data[f"{width}_shift"] = [-6 if caption.align == "right" else 6 for caption in captions]
            data[f"{width}_ink"] = [light(caption.ink) for caption in captions]
        source = ColumnDataSource(data)
        drawn = plot.hbar(
            y="lane", left="start", right="end", height=0.8, source=source,
            fill_color="fill", line_color=light("surface"), line_width=1.5,
        )  # fmt: skip
        plot.text(  # the page's script turns wide_ into narrow_ on phones
            x="wide_at", y="lane", text="wide_text", source=source, x_offset="wide_shift",
            text_align="wide_align", text_color="wide_ink", text_font=value(FONT), text_font_size="11px",
            text_baseline="middle",
        )  # fmt: skip
        tips = [("", "@name"), ("from", "@start{0,0.0} s"), ("to", "@end{0,0.0} s")]
        plot.add_tools(HoverTool(renderers=[drawn], tooltips=tips))
        plot.yaxis.ticker = FixedTicker(ticks=list(range(len(lanes))))
        plot.yaxis.major_label_overrides = {place: lane.name for place, lane in enumerate(lanes)}
        plot.ygrid.visible = False
        plot.xaxis.visible = True
        return plot

    def segment(self, name: str, series: SegmentSeries) -> Any:
        """One segment: p95 over p50, and a cross wherever spans failed."""
        low_s, high_s = bounds([*series.p50_s, *series.p95_s])
        plot = self._frame(SEGMENT_PX, y_range=Range1d(low_s * 1000, high_s * 1000), y_axis_type="log")
        p95_ms = _milliseconds(series.p95_s)
        lone, failed = _lone(p95_ms), np.asarray(series.errors) > 0
        source = ColumnDataSource(
            {
                "at": self._at_s,
                "p50": _milliseconds(series.p50_s),
                "p95": p95_ms,
                "count": np.asarray(series.count, dtype=np.int32),
                "errors": np.asarray(series.errors, dtype=np.int32),
            }
        )
        plot.line(x="at", y="p50", line_color=light("middle"), line_width=1.5, source=source)
        top = plot.line(x="at", y="p95", line_color=light("accent"), line_width=2, source=source)
        plot.scatter(x=self._at_s[lone], y=p95_ms[lone], size=5, color=light("accent"))
        plot.scatter(
            x=self._at_s[failed], y=np.full(int(failed.sum()), low_s * 1250, dtype=np.float32),
            size=6, marker="x", line_color=light("failed"), line_width=1.5,
        )  # fmt: skip
        tips = [
            ("at", "@at{0,0.0} s"),
            ("p95", "@p95{0,0.0} ms"),
            ("p50", "@p50{0,0.0} ms"),
            ("spans", "@count{0,0}"),
            ("failed", "@errors{0,0}"),
        ]
        plot.add_tools(HoverTool(renderers=[top], mode="vline", tooltips=tips))
        marks = ticks(low_s, high_s)
        plot.yaxis.ticker = FixedTicker(ticks=[tick * 1000 for tick in marks])
        plot.yaxis.major_label_overrides = {tick * 1000: format_duration(tick) for tick in marks}
        plot.add_layout(_caption(name, high_s * 1000))
        return plot

    def outcomes(self) -> Any:
        """Arrivals per second as a line over the stack of what became of them."""
        width_s = self._timeline.bucket_s
        counts = {name: counted for name, counted in self._timeline.outcomes.items() if any(counted)}
        names = wording.ordered(counts, wording.OUTCOMES)
        data = {
            f"o{place}": np.asarray(counts[name], dtype=np.float32) / np.float32(width_s)
            for place, name in enumerate(names)
        }
        stacked = sum(data.values(), np.zeros(len(self._at_s), dtype=np.float32))
        data["at"] = self._at_s
        data["arrivals"] = np.asarray(self._timeline.arrivals, dtype=np.float32) / np.float32(width_s)
        highest = float(max(stacked.max(initial=1.0), data["arrivals"].max(initial=1.0)))
        plot = self._frame(OUTCOMES_PX, y_range=Range1d(0, highest * 1.25))
        source = ColumnDataSource(data)
        if names:
            plot.vbar_stack(
                [f"o{place}" for place in range(len(names))], x="at", width=width_s, source=source,
                line_width=0,
                fill_color=[light(outcome_shade(name)) for name in names],
            )  # fmt: skip
        line = plot.step(
            x="at", y="arrivals", mode="center", line_color=light("ink"), line_width=1.25, source=source
        )
        tips = [("at", "@at{0,0.0} s"), ("arrivals", "@arrivals{0,0.0}")]
        tips += [(wording.drawn(name), f"@o{place}{{0,0.0}}") for place, name in enumerate(names)]
        plot.add_tools(HoverTool(renderers=[line], mode="vline", tooltips=tips))
        plot.xaxis.visible = True
        plot.xaxis.axis_label = "seconds since the load began"
        plot.add_layout(_caption("answers per second", highest * 1.25))
        return plot

    def _frame(self, height: int, **options: Any) -> Any:
        plot = figure(
            height=height, sizing_mode="stretch_width", x_range=self._clock, tools="", toolbar_location=None,
            min_border_left=LEFT_PX, min_border_right=10, min_border_top=0, min_border_bottom=0,
            background_fill_color=None, border_fill_color=None, outline_line_color=None, **options,
        )  # fmt: skip
        for fault in self._timeline.faults:
            plot.add_layout(
                BoxAnnotation(
                    left=fault.start_s, right=fault.end_s, level="image", line_color=None,
                    fill_color=light("band-fault"), fill_alpha=1.0,
                )
            )  # fmt: skip
        for phase in self._timeline.phases[1:]:
            edge = {"line_color": light("edge"), "line_dash": [2, 3], "line_width": 1}
            plot.add_layout(Span(location=phase.start_s, dimension="height", level="underlay", **edge))
        plot.add_tools(CrosshairTool(overlay=self._follow))
        plot.xaxis.visible = False
        plot.axis.axis_line_color = None
        plot.axis.major_tick_line_color = None
        plot.axis.minor_tick_line_color = None
        plot.axis.major_label_text_color = light("muted")
        plot.axis.major_label_text_font = FONT
        plot.axis.major_label_text_font_size = "11px"
        plot.axis.axis_label_text_color = light("muted")
        plot.axis.axis_label_text_font = FONT
        plot.axis.axis_label_text_font_size = "11px"
        plot.axis.axis_label_text_font_style = "normal"
        plot.xgrid.visible = False
        plot.ygrid.grid_line_color = light("grid")
        return plot


def _caption(text: str, top: float) -> Any:
    return Label(
        x=6, y=top, x_units="screen", y_offset=-4, text=wording.drawn(text), text_baseline="top",
        text_color=light("ink"), text_font=FONT, text_font_size="12px", text_font_style="bold",
    )  # fmt: skip


def bounds(latencies_s: Sequence[float | None]) -> tuple[float, float]:
    """A range with room for the caption above and the crosses below, at least one decade high."""
    present = [p for p in latencies_s if p is not None and SHORTEST_S <= p < math.inf]
    low_s, high_s = (min(present), max(present)) if present else (0.001, 0.01)
    spread = max(1.0, math.sqrt(8 / (high_s / low_s)))
    return low_s / (1.6 * spread), high_s * 2.4 * spread


def ticks(low_s: float, high_s: float) -> list[float]:
    """One, at most three, round durations within a range."""
    fitting = [tick for tick in _TICKS_S if low_s * 1.15 <= tick <= high_s / 1.15]
    if len(fitting) > 3:
        fitting = [tick for tick in fitting if tick in _DECADES_S]
    return fitting[:: math.ceil(len(fitting) / 3)] if fitting else []


def _milliseconds(latencies_s: Sequence[float | None]) -> Floats:
    """Nothing, and what a logarithm cannot show, breaks the line."""
    shown = [p * 1000 if p is not None and SHORTEST_S <= p < math.inf else math.nan for p in latencies_s]
    return np.asarray(shown, dtype=np.float32)


def _lone(line: Floats) -> npt.NDArray[np.bool_]:
    """The points between two gaps, which no line shows."""
    gap = np.concatenate(([True], np.isnan(line), [True]))
    return gap[:-2] & ~gap[1:-1] & gap[2:]
