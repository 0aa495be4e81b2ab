"""What a person sees while a run is under way: phase, rate, errors, breaker states, time left.

At a terminal one status line is redrawn; in a log file (CI, a pipe) a plain line is printed at every change
and every ten seconds, because a redrawn line is noise there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from chaos.run.live import Figures
from slo.units import format_duration, format_ratio

PLAIN_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Moment:
    """The run as it stands now."""

    phase: str
    elapsed_s: float
    left_s: float
    planned_rate_per_s: float
    figures: Figures
    faults: tuple[str, ...]
    breakers: Mapping[str, str]


class Progress(Protocol):
    """Where the runner reports to."""

    def step(self, text: str) -> None:
        """Something was done, or is about to take a while."""
        ...

    def moment(self, moment: Moment) -> None:
        """The load is running; called a few times a second."""
        ...

    def close(self) -> None:
        """Nothing more is coming."""
        ...


class SilentProgress:
    """Says nothing; for machines and tests."""

    def step(self, text: str) -> None:
        del text

    def moment(self, moment: Moment) -> None:
        del moment

    def close(self) -> None:
        pass


class TerminalProgress:
    """Says it on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._phase = ""
        self._printed_s = -PLAIN_EVERY_S

    def step(self, text: str) -> None:
        self.close()
        self._say(f"[dim]·[/] {escape(text)}")
        if self._console.is_terminal:
            self._status = self._console.status(escape(text))
            self._status.start()

    def moment(self, moment: Moment) -> None:
        new_phase = moment.phase != self._phase
        if self._console.is_terminal:
            if self._status is None:
                self._status = self._console.status("")
                self._status.start()
            if new_phase:
                self._say(_phase_line(moment))
            self._status.update(_moment_line(moment))
        elif new_phase:
            self._say(_phase_line(moment))
            self._printed_s = moment.elapsed_s
        elif moment.elapsed_s - self._printed_s >= PLAIN_EVERY_S:
            self._say("    " + _moment_line(moment))
            self._printed_s = moment.elapsed_s
        self._phase = moment.phase

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)

    def close(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


def _phase_line(moment: Moment) -> str:
    faults = f"  [yellow]faults: {', '.join(moment.faults)}[/]" if moment.faults else ""
    rate = f"{moment.planned_rate_per_s:g} arrivals/s"
    return f"[bold]▸ {escape(moment.phase)}[/]  {rate}{faults}"


def _moment_line(moment: Moment) -> str:
    figures = moment.figures
    p95 = format_duration(figures.p95_s) if figures.p95_s is not None else "–"
    open_breakers = [f"{name} {state}" for name, state in moment.breakers.items() if state != "closed"]
    parts = [
        f"{format_duration(moment.left_s)} left",
        f"{figures.rate_per_s:.1f} answers/s",
        f"p95 {p95}",
        f"errors {format_ratio(figures.error_ratio)}",
        f"degraded {format_ratio(figures.degraded_ratio)}",
        "breakers: " + (", ".join(open_breakers) if open_breakers else "closed"),
    ]
    return escape("  ".join(parts))
