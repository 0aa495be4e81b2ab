"""The lanes above the timeline: which phase, which fault, and what each breaker was doing, as plain data.

A caption is only given to a bar that has room for it, judged once for wide screens and once for phones (the
page's script picks one); every bar's full name is in its tooltip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from slo.report import wording
from slo.report.palette import breaker_shade
from slo.report.wording import drawn
from slo.timeline import BreakerState, FaultWindow, PhaseWindow, Timeline

WIDE_PX = 570
"""The narrowest plot area that is still drawn with full labels."""
NARROW_PX = 240
"""The plot area of a phone."""
_CHAR_PX = 5.9
_MAX_LANE_NAME = 11


@dataclass(frozen=True, slots=True)
class Caption:
    """What is written at a bar, where, and how it is aligned there; empty when nothing fits."""

    text: str
    at_s: float
    align: str
    ink: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of time with a name, and how it is captioned on wide and on narrow screens."""

    start_s: float
    end_s: float
    name: str
    shade: str
    wide: Caption
    narrow: Caption


@dataclass(frozen=True, slots=True)
class Lane:
    """Bars that follow each other under one heading."""

    name: str
    bars: tuple[Bar, ...]


def lanes_of(timeline: Timeline, end_s: float) -> list[Lane]:
    """The lanes of a run from top to bottom: phases, each fault, each breaker."""
    phases = tuple(_phase(phase, end_s) for phase in timeline.phases)
    lanes = [Lane("phase", phases)]
    by_name = groupby(timeline.faults, key=lambda fault: fault.name)
    lanes += [Lane("fault", _turns(tuple(turns), end_s)) for _, turns in by_name]
    for name, states in sorted(timeline.breakers.items()):
        lanes.append(Lane(_short(name), tuple(_breaker(name, state, end_s) for state in states)))
    return lanes


def _phase(phase: PhaseWindow, end_s: float) -> Bar:
    rate = drawn(wording.rate(phase.rate_per_s, phase.rate_told))
    name = drawn(phase.name)
    full = f"phase {name}, {rate}" + ("" if phase.judged else ", not judged")
    ink = "ink" if phase.judged else "muted"
    return _bar(phase.start_s, phase.end_s, end_s, full, (f"{name} · {rate}", name), "band", ink)


def _turns(faults: Sequence[FaultWindow], end_s: float) -> tuple[Bar, ...]:
    """A bar for each time that a fault was in; the names of those that flap stay within their bars."""
    return tuple(_fault(fault, end_s, alone=len(faults) == 1) for fault in faults)


def _fault(fault: FaultWindow, end_s: float, *, alone: bool) -> Bar:
    name = drawn(fault.name)
    full = f"{name}: {drawn(fault.kind)} on {drawn(fault.on)}"
    bar = _bar(fault.start_s, fault.end_s, end_s, full, (full, name), "bar-fault", "on-colour")
    if not alone:
        return bar
    return replace(
        bar, wide=_outside(bar, name, end_s, WIDE_PX), narrow=_outside(bar, name, end_s, NARROW_PX)
    )


def _breaker(breaker: str, state: BreakerState, end_s: float) -> Bar:
    said = drawn(state.state).replace("_", "-")
    ink = "ink" if said == "closed" else "on-colour"
    shade = breaker_shade(state.state)
    labels = (f"breaker {said}", said)
    return _bar(state.start_s, state.end_s, end_s, f"breaker {drawn(breaker)}: {said}", labels, shade, ink)


def _bar(
    start_s: float, until_s: float, end_s: float, name: str, labels: tuple[str, ...], shade: str, ink: str
) -> Bar:
    def caption(plot_px: int) -> Caption:
        room_px = (until_s - start_s) / end_s * plot_px
        text = next((label for label in labels if len(label) * _CHAR_PX <= room_px), "")
        return Caption(text, start_s, "left", ink)

    return Bar(start_s, until_s, name, shade, caption(WIDE_PX), caption(NARROW_PX))


def _outside(bar: Bar, name: str, end_s: float, plot_px: int) -> Caption:
    """A fault is alone in its lane: a name that does not fit into the bar may stand beside it."""
    inside = bar.wide if plot_px == WIDE_PX else bar.narrow
    needs_s = len(name) * _CHAR_PX / plot_px * end_s
    if inside.text:
        return inside
    if end_s - bar.end_s >= needs_s:
        return Caption(name, bar.end_s, "left", "ink")
    if bar.start_s >= needs_s:
        return Caption(name, bar.start_s, "right", "ink")
    return inside


def _short(name: str) -> str:
    name = drawn(name)
    return name if len(name) <= _MAX_LANE_NAME else name[: _MAX_LANE_NAME - 1] + "…"
