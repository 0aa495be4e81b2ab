"""Stop conditions: when an experiment must give up for the users' sake.

A condition holds when its indicator, over the last few seconds, has stayed above its bound for the
whole of its time. One good look resets it, so that a single bad second never stops a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chaos.experiment import StopCondition
from chaos.run.live import LiveAttempts
from slo.units import format_duration, format_ratio

WINDOW_S = 5.0
MIN_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Triggered:
    """The condition that held, and what was seen."""

    condition: str
    observed: str


class StopWatch:
    """Watches the stop conditions of one run."""

    def __init__(self, conditions: Sequence[StopCondition]) -> None:
        self._above_since: dict[int, float] = {}
        self._conditions = conditions

    def look(self, live: LiveAttempts, now_s: float) -> Triggered | None:
        """Judge the conditions at `now_s`; returns the first that has held long enough."""
        figures = live.figures(now_s, WINDOW_S)
        for index, condition in enumerate(self._conditions):
            above = figures.ended >= MIN_ATTEMPTS and figures.error_ratio > condition.above
            if not above:
                self._above_since.pop(index, None)
                continue
            since_s = self._above_since.setdefault(index, now_s)
            if now_s - since_s >= condition.for_s:
                bound, held = format_ratio(condition.above), format_duration(condition.for_s)
                return Triggered(
                    condition=f"{condition.segment} {condition.indicator} above {bound} for {held}",
                    observed=f"{format_ratio(figures.error_ratio)} over the last {WINDOW_S:g} s",
                )
        return None
