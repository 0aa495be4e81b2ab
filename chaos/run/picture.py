"""How the run as it stands is drawn: on a few lines that stay where they are, or on a line of a log."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from chaos.run.live import Figures
from chaos.run.moment import Moment, Plan
from slo.units import format_duration, format_ratio

LOG_WIDTH = 80
LONGEST_BAR = 60
_LAGS = 0.9
"""Fewer arrivals than that part of what was intended are marked; the load gate judges it exactly."""


def picture(moment: Moment, plan: Plan, width: int) -> RenderableType:
    """On six lines."""
    place, figures = plan.places.get(moment.phase), moment.figures
    of = f"  {place.number} of {place.of}" if place else ""
    in_phase = f"{_clock(place.end_s - moment.elapsed_s)} left in phase, " if place else ""
    lags = figures.begun_per_s < _LAGS * moment.planned_rate_per_s
    in_force = "bold yellow" if moment.faults else ""
    breakers = [
        (f"{name} {state}  ", "" if state == "closed" else "bold red")
        for name, state in sorted(moment.breakers.items())
    ]
    lines = (
        Text.assemble((moment.phase, "bold"), f"{of}  {in_phase}{_clock(moment.left_s)} in all"),
        Text.assemble(
            ("arrivals  ", "dim"),
            f"{moment.planned_rate_per_s:.3g}/s intended  ",
            (f"{figures.begun_per_s:.3g}/s came", "yellow" if lags else ""),
            f"  {figures.in_flight} in flight",
        ),
        Text.assemble(
            ("answers   ", "dim"),
            f"p95 {_p95(figures)}  ",
            (f"errors {_share(figures.error_ratio)}", "bold red" if figures.error_ratio else ""),
            "  ",
            (f"degraded {_share(figures.degraded_ratio)}", "yellow" if figures.degraded_ratio else ""),
        ),
        Text.assemble(("breakers  ", "dim"), *(breakers or [("not known", "")])),
        Text.assemble(("faults    ", "dim"), (", ".join(moment.faults) or "none", in_force)),
    )
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    total_s = moment.elapsed_s + moment.left_s
    cells = min(width, LONGEST_BAR)
    done = round(cells * moment.elapsed_s / total_s) if total_s > 0 else 0
    bar = Text.assemble(("━" * done, "cyan"), ("─" * (cells - done), "dim"))
    return Group(lines[0], bar, *lines[1:])


def log_parts(moment: Moment, plan: Plan) -> list[str]:
    """In a log, the most important first."""
    place, figures = plan.places.get(moment.phase), moment.figures
    of = f" {place.number}/{place.of}" if place else ""
    not_closed = [f"{name} {state}" for name, state in sorted(moment.breakers.items()) if state != "closed"]
    return [
        f"{_clock(moment.elapsed_s)}/{_clock(moment.elapsed_s + moment.left_s)} {moment.phase}{of}",
        f"{figures.begun_per_s:.3g} of {moment.planned_rate_per_s:.3g}/s",
        f"p95 {_p95(figures)}",
        f"errors {_share(figures.error_ratio)}",
        f"degraded {_share(figures.degraded_ratio)}",
        *not_closed,
        *([f"faults {', '.join(moment.faults)}"] if moment.faults else []),
    ]


def log_lines(moment: Moment, plan: Plan, width: int = LOG_WIDTH) -> list[str]:
    """Its parts on as few lines as fit; no part is broken."""
    lines: list[str] = []
    for part in log_parts(moment, plan):
        if lines and len(lines[-1]) + 2 + len(part) <= width:
            lines[-1] += f"  {part}"
        else:
            lines.append(("      " if lines else "  ") + part)
    return lines


def _p95(figures: Figures) -> str:
    return "–" if figures.p95_s is None else format_duration(figures.p95_s)


def _share(ratio: float) -> str:
    return format_ratio(round(ratio, 3))


def _clock(seconds: float) -> str:
    """`1:12`, `1:02:03`: its width does not jump from second to second."""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
