"""A small chart as SVG text: panels of measured points and simulated lines, in light and in dark.

Written by hand because what can draw SVG among the dependencies needs a browser for it. Measured figures are
circles and simulated ones lines with a tick at each value, so the two are told apart without colour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 440, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 42, 52
_LEGEND_LINE = 18
_COLOURS = (("#1d4ed8", "#7aa7ff"), ("#b45309", "#f0a54a"), ("#047857", "#4cc69a"))
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_WANTED_TICKS = 6

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One quantity, measured and simulated, at the same places."""

    name: str
    measured: tuple[Point, ...]
    simulated: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """What it shows. `ticks`: at these values instead of round ones; `log`: equal factors are equally far."""

    label: str
    log: bool = False
    ticks: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes."""

    title: str
    x: Axis
    y: Axis
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float
    log: bool

    def at(self, value: float) -> float:
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def chart(title: str, panels: Sequence[Panel], measured: str, simulated: str) -> str:
    """The panels side by side under a title; `measured` and `simulated` name the two in the legend."""
    names = [line.name for line in panels[0].lines]
    width, height = _WIDTH * len(panels), _HEIGHT + _LEGEND_LINE * 2 + 8
    style = "".join(f".c{i}{{stroke:{light};fill:{light}}}" for i, (light, _) in enumerate(_COLOURS))
    dark = "".join(f".c{i}{{stroke:{dark};fill:{dark}}}" for i, (_, dark) in enumerate(_COLOURS))
    body = [drawn for i, panel in enumerate(panels) for drawn in _panel(panel, i * _WIDTH)]
    body += _legend(names, measured, simulated, _HEIGHT + 12)
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
            f'width="{width}" height="{height}">',
            f"<title>{escape(title)}</title>",
            "<style>",
            "text{font:12px system-ui,sans-serif;fill:#374151}.t{font-weight:600;font-size:13px}"
            ".bg{fill:#ffffff}.g{stroke:#e5e7eb}.a{stroke:#9ca3af}.l{fill:none!important;stroke-width:1.6}"
            ".m{fill:none!important;stroke-width:1.8}.k{stroke:#374151;fill:#374151}" + style,
            "@media(prefers-color-scheme:dark){text{fill:#d1d5db}.bg{fill:#111827}.g{stroke:#273244}"
            ".a{stroke:#6b7280}.k{stroke:#d1d5db;fill:#d1d5db}" + dark + "}",
            "</style>",
            f'<rect class="bg" width="{width}" height="{height}"/>',
            *body,
            "</svg>",
            "",
        )
    )


def ticks(low: float, high: float) -> tuple[float, ...]:
    """Round numbers between two values, some three to seven."""
    raw = (high - low) / _WANTED_TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * one for one in _STEPS if power * one >= raw)
    first = math.ceil(low / step)
    return tuple(step * i for i in range(first, math.floor(high / step) + 1))


def log_ticks(low: float, high: float) -> tuple[float, ...]:
    """Powers of ten, with their 2 and 5 where there are few of them."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    among = (1,) if len(powers) > 4 else (1, 2, 5)
    return tuple(one * 10.0**power for power in powers for one in among if low <= one * 10.0**power <= high)


def _panel(panel: Panel, left: float) -> list[str]:
    points = [p for line in panel.lines for p in (*line.measured, *line.simulated)]
    x = _scale([p[0] for p in points], panel.x, left + _LEFT, left + _WIDTH - _RIGHT)
    y = _scale([p[1] for p in points], panel.y, _HEIGHT - _BOTTOM, _TOP)
    bottom, right = _HEIGHT - _BOTTOM, left + _WIDTH - _RIGHT
    drawn = [f'<text class="t" x="{left + _LEFT:.0f}" y="22">{escape(panel.title)}</text>']
    for value in _ticks(panel.y, y):
        at = y.at(value)
        drawn.append(f'<path class="g" d="M{x.start:.1f} {at:.1f}H{right:.1f}"/>')
        drawn.append(f'<text x="{x.start - 7:.1f}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in _ticks(panel.x, x):
        at = x.at(value)
        drawn.append(f'<path class="a" d="M{at:.1f} {bottom}v4"/>')
        drawn.append(f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{value:g}</text>')
    drawn.append(f'<path class="a" d="M{x.start:.1f} {bottom}H{right:.1f}"/>')
    drawn.append(
        f'<text x="{(x.start + right) / 2:.1f}" y="{bottom + 38}" text-anchor="middle">'
        f"{escape(panel.x.label)}</text>"
    )
    middle = (_TOP + bottom) / 2
    drawn.append(
        f'<text transform="translate({left + 14:.0f} {middle:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(panel.y.label)}</text>"
    )
    for i, line in enumerate(panel.lines):
        at_points = [(x.at(a), y.at(b)) for a, b in line.simulated]
        path = "L".join(f"{a:.1f} {b:.1f}" for a, b in at_points)
        marks = "".join(f"M{a:.1f} {b - 3.5:.1f}v7" for a, b in at_points)
        drawn.append(f'<path class="c{i} l" d="M{path}{marks}"/>')
        drawn += [
            f'<circle class="c{i} m" cx="{x.at(a):.1f}" cy="{y.at(b):.1f}" r="4.5"/>'
            for a, b in line.measured
        ]
    return drawn


def _legend(names: Sequence[str], measured: str, simulated: str, top: float) -> list[str]:
    drawn = [
        f'<circle class="k m" cx="{_LEFT + 8}" cy="{top}" r="4.5"/>',
        f'<text x="{_LEFT + 22}" y="{top + 4}">{escape(measured)}</text>',
        f'<path class="k l" d="M{_WIDTH / 2 + 40} {top}h26m-13 -3.5v7"/>',
        f'<text x="{_WIDTH / 2 + 74}" y="{top + 4}">{escape(simulated)}</text>',
    ]
    left = float(_LEFT)
    for i, name in enumerate(names):
        drawn.append(f'<path class="c{i}" stroke-width="4" d="M{left:.0f} {top + _LEGEND_LINE}h16"/>')
        drawn.append(f'<text x="{left + 22:.0f}" y="{top + _LEGEND_LINE + 4}">{escape(name)}</text>')
        left += 40 + 7.0 * len(name)
    return drawn


def _scale(values: Sequence[float], axis: Axis, start: float, end: float) -> _Scale:
    """All values with a little room; an axis that is not logarithmic begins at 0."""
    low, high = min(values), max(values)
    if axis.log:
        return _Scale(low / 1.25, high * 1.25, start, end, True)
    return _Scale(0.0, high * 1.08 or 1.0, start, end, False)


def _ticks(axis: Axis, scale: _Scale) -> tuple[float, ...]:
    if axis.ticks:
        return axis.ticks
    return log_ticks(scale.low, scale.high) if axis.log else ticks(scale.low, scale.high)
