"""A run's phases and faults drawn to scale, one row each: `spike  ······▕████▏····`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chaos.faults.over_time import OverTime

BLOCKS = "▁▂▃▄▅▆▇█"
FAULT, FLAPPING = "▒", "░"
OUTSIDE = "·"
LEAST_CELLS, MOST_CELLS = 12, 48


def phase_row(
    start_s: float, end_s: float, rate_at: Callable[[float], float], peak: float, total_s: float, cells: int
) -> str:
    """A phase on the run's whole time; its height is the rate, as a part of the run's highest."""

    def drawn(at_s: float) -> str:
        level = round(rate_at(at_s) / peak * len(BLOCKS)) if peak > 0 else 0
        return BLOCKS[max(1, min(level, len(BLOCKS))) - 1]

    return _row([(start_s, end_s)], drawn, total_s, cells)


def fault_row(
    spans: Sequence[tuple[float, float]], over_time: OverTime | None, total_s: float, cells: int
) -> str:
    """When a fault is in; one that comes and goes too fast to be drawn is drawn lighter."""
    flap = over_time.flap if over_time is not None else None
    if flap is None:
        return _row(spans, lambda _at_s: FAULT, total_s, cells)
    if min(flap.on_s, flap.off_s) < total_s / cells:
        return _row(spans, lambda _at_s: FLAPPING, total_s, cells)

    def drawn(at_s: float) -> str:
        since_s = at_s - max(start_s for start_s, _ in spans if start_s <= at_s)
        return FAULT if flap.is_in(since_s) else OUTSIDE

    return _row(spans, drawn, total_s, cells)


def _row(
    spans: Sequence[tuple[float, float]], drawn: Callable[[float], str], total_s: float, cells: int
) -> str:
    """Each cell shows what is in its middle; a span that is shorter than a cell still gets one."""
    row = [OUTSIDE] * cells
    width_s = total_s / cells
    for start_s, end_s in spans:
        first = min(cells - 1, round(start_s / width_s))
        last = max(first + 1, round(end_s / width_s))
        for cell in range(first, min(last, cells)):
            middle_s = min(max((cell + 0.5) * width_s, start_s), end_s - 1e-9)
            row[cell] = drawn(middle_s)
    return "".join(row)
