"""How long a run will take, asked before it starts: a suite in CI has the time that it has.

The load's length is known. What comes on top (a stack that starts, or is only looked at, the last answers,
the verdict) is guessed from a machine of two cores, and then learned from the runs of this campaign.
"""

from __future__ import annotations

from slo.units import format_duration

FRESH_S = 60.0
"""Beside the load, with a stack that has to start: 45 s with a warm disk."""
SHARED_S = 35.0
"""On a stack that is up."""


class Budget:
    """The time that a campaign has; none means as long as it takes."""

    def __init__(self, budget_s: float | None) -> None:
        self.budget_s = budget_s
        self._around_s = {False: FRESH_S, True: SHARED_S}
        self._known: set[bool] = set()

    def takes_s(self, load_s: float, *, on_running_stack: bool) -> float:
        """What a run with so much load will take, as far as is known."""
        return load_s + self._around_s[on_running_stack]

    def learn(self, took_s: float, load_s: float, *, on_running_stack: bool) -> None:
        """A run took so long; the longest that was seen is what the next one is expected to take."""
        around_s = max(0.0, took_s - load_s)
        if on_running_stack in self._known:
            around_s = max(around_s, self._around_s[on_running_stack])
        self._known.add(on_running_stack)
        self._around_s[on_running_stack] = around_s

    def refusal(self, spent_s: float, load_s: float, *, on_running_stack: bool) -> str:
        """Why a run does not fit any more; empty when it does."""
        if self.budget_s is None:
            return ""
        left_s = max(0.0, self.budget_s - spent_s)
        takes_s = self.takes_s(load_s, on_running_stack=on_running_stack)
        if takes_s <= left_s:
            return ""
        return (
            f"skipped: it takes about {format_duration(takes_s)}, and of the budget of "
            f"{format_duration(self.budget_s)} only {format_duration(left_s)} are left"
        )
