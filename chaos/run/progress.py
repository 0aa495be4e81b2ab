"""What a person sees while a run is under way, at a terminal and in a log file.

At a terminal a few lines stay where they are and change: phase and time left, arrivals, answers, breakers and
faults. In a log file (CI, a pipe, a dumb terminal) lines are added: one for what happens, and every ten
seconds one with figures. What happens is taken from the journal as it is written, so that the two cannot tell
different stories.

A display is no part of a run: a console that cannot be written to any more is given up, and the run goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from chaos.run.moment import Moment, Plan
from chaos.run.picture import log_lines, log_parts, picture
from chaos.run.told import sentence

__all__ = ["Moment", "Progress", "SilentProgress", "TerminalProgress"]

PLAIN_EVERY_S = 10.0
SAME_FAULT_EVERY_S = 10.0
"""A fault that comes and goes every few seconds is not told each time."""
LEAST_LINES, LEAST_COLUMNS = 10, 40
"""A smaller terminal gets one line that changes instead of a few."""


class Progress(Protocol):
    """Where the runner reports to; `fact` may come from any thread."""

    def step(self, text: str) -> None:
        """Something was done, or is about to take a while."""
        ...

    def fact(self, entry: Mapping[str, Any]) -> None:
        """A line was written to the journal."""
        ...

    def moment(self, moment: Moment) -> None:
        """The load is running; called a few times a second."""
        ...

    def close(self) -> None:
        """Nothing more is coming."""
        ...


class SilentProgress:
    """Says nothing; for tests."""

    def step(self, text: str) -> None:
        del text

    def fact(self, entry: Mapping[str, Any]) -> None:
        del entry

    def moment(self, moment: Moment) -> None:
        del moment

    def close(self) -> None:
        pass


class TerminalProgress:
    """Says it on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._redraws = console.is_terminal and not console.is_dumb_terminal
        self._live: Live | None = None
        self._step: str | None = None
        """What is under way: at a terminal it becomes a line once it is done."""
        self._plan = Plan()
        self._printed_s: float | None = None
        self._told_s: dict[tuple[str, str], float] = {}
        self._lock = threading.RLock()

    def step(self, text: str) -> None:
        with self._lock:
            self.close()
            if not self._redraws:
                self._say(Text(f"· {text}"))
                return
            self._step = text
            shown = Text(text)
            shown.truncate(max(1, self._console.width - 3), overflow="ellipsis")
            self._begin(Spinner("dots", shown), moves=True)

    def fact(self, entry: Mapping[str, Any]) -> None:
        with self._lock:
            if entry["event"] == "run.planned":
                self._plan.read(entry)
            if entry["event"] == "phase.started":
                self._printed_s = None
            told = sentence(entry, self._plan)
            if told is not None and not self._was_just_told(entry):
                if self._step is not None:
                    self.close()
                self._say(Text(told.text, style=told.style))

    def moment(self, moment: Moment) -> None:
        with self._lock:
            if self._redraws:
                self._draw(moment)
            elif self._printed_s is None:
                self._printed_s = moment.elapsed_s
            elif moment.elapsed_s - self._printed_s >= PLAIN_EVERY_S:
                self._printed_s = moment.elapsed_s
                for line in log_lines(moment, self._plan):
                    self._say(Text(line))

    def close(self) -> None:
        with self._lock:
            if self._live is not None:
                live, self._live = self._live, None
                self._try(live.stop)
            if self._step is not None:
                step, self._step = self._step, None
                self._say(Text(f"· {step}"))

    def _draw(self, moment: Moment) -> None:
        width, height = self._console.size
        shown: RenderableType = picture(moment, self._plan, width)
        if height < LEAST_LINES or width < LEAST_COLUMNS:
            shown = Text("  ".join(log_parts(moment, self._plan)), no_wrap=True, overflow="ellipsis")
        if self._live is not None and self._live.auto_refresh:
            self.close()  # the last step's
        if self._live is None:
            self._begin(shown, moves=False)
        else:
            live = self._live
            self._try(lambda: live.update(shown, refresh=True))

    def _begin(self, shown: RenderableType, *, moves: bool) -> None:
        """Lines at the bottom; those that move by themselves have a thread that redraws them."""
        self._live = live = Live(shown, console=self._console, transient=True, auto_refresh=moves)
        self._try(lambda: live.start(refresh=True))

    def _was_just_told(self, entry: Mapping[str, Any]) -> bool:
        """Whether the same was said of the same fault a moment ago."""
        if "fault" not in entry:
            return False
        of, at_s = (str(entry["event"]), str(entry["fault"])), float(entry["at_s"])
        if at_s - self._told_s.get(of, -SAME_FAULT_EVERY_S) < SAME_FAULT_EVERY_S:
            return True
        self._told_s[of] = at_s
        return False

    def _say(self, line: Text) -> None:
        self._try(lambda: self._console.print(line, highlight=False, soft_wrap=True))

    def _try(self, show: Callable[[], None]) -> None:
        try:
            show()
        except OSError:  # the terminal has gone, or the disk of its log is full
            self._console.quiet, self._redraws = True, False
            self._live = self._step = None
