"""Between a run and whoever watches it: a run never waits for a display.

Ctrl-S at a terminal, a pager that shows its first page, a pipe whose reader is suspended: each holds up who
writes there, and the run would stand still with a fault in. So a thread of its own writes, the run only hands
over; of moments that nobody had time for the last one is kept. What a display throws ends the display.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Any

from chaos.run.moment import Moment
from chaos.run.progress import Progress

CLOSE_WITHIN_S = 2.0
"""How long the end of a run waits for a display to show the rest."""


class Relay:
    """A `Progress` that hands everything on to another one, in a thread."""

    def __init__(self, to: Progress) -> None:
        self._to = to
        self._calls: SimpleQueue[Callable[[], None] | threading.Event] = SimpleQueue()
        self._newest: Moment | None = None
        self._lock = threading.Lock()
        self._is_shown = True
        threading.Thread(target=self._hand_over, name="relay", daemon=True).start()

    def step(self, text: str) -> None:
        self._calls.put(lambda: self._to.step(text))

    def fact(self, entry: Mapping[str, Any]) -> None:
        self._calls.put(lambda: self._to.fact(entry))

    def moment(self, moment: Moment) -> None:
        with self._lock:
            is_waiting, self._newest = self._newest is not None, moment
        if not is_waiting:
            self._calls.put(self._show_newest)

    def close(self) -> None:
        """Wait until the rest is shown, but not for ever; what comes after it is shown, too."""
        done = threading.Event()
        self._calls.put(self._to.close)
        self._calls.put(done)
        done.wait(CLOSE_WITHIN_S)

    def drain(self) -> None:
        """Wait until everything is shown, however long that takes: the run is over, its reader is not."""
        done = threading.Event()
        self._calls.put(done)
        done.wait()

    def _show_newest(self) -> None:
        with self._lock:
            moment, self._newest = self._newest, None
        if moment is not None:
            self._to.moment(moment)

    def _hand_over(self) -> None:
        while True:
            call = self._calls.get()
            if isinstance(call, threading.Event):
                call.set()
            elif self._is_shown:
                try:
                    call()
                except Exception:  # a display is no part of a run, and neither are its bugs
                    self._is_shown = False
