"""`ragquake run --json`: a run as it happens, for machines, one JSON object a line.

The journal's facts come as they are written, under their own names; between them what the runner is doing
(`step`) and how the run stands (`moment`, once a second). The last line is the `verdict`, or `error` where
there is none (docs/reference/events.md). A reader who leaves does not end the run.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TextIO

from chaos.clock import Clock, SystemClock
from chaos.run.moment import Moment
from slo.verdict import Verdict

MOMENT_EVERY_S = 1.0
LAST = ("verdict", "campaign", "error")
"""After one of them nothing more is written."""


class EventStream:
    """A run's events on a text stream; a `Progress`."""

    def __init__(self, out: TextIO, clock: Clock | None = None) -> None:
        self._out = out
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._moment_at_s = float("-inf")
        self._is_heard = True

    def step(self, text: str) -> None:
        self.tell("step", text=text)

    def fact(self, entry: Mapping[str, Any]) -> None:
        self._write(entry)

    def moment(self, moment: Moment) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._moment_at_s < MOMENT_EVERY_S:
            return
        self._moment_at_s = now_s
        figures = {name: _rounded(value) for name, value in asdict(moment.figures).items()}
        self.tell(
            "moment",
            phase=moment.phase,
            elapsed_s=round(moment.elapsed_s, 3),
            left_s=round(moment.left_s, 3),
            intended_per_s=round(moment.planned_rate_per_s, 3),
            **figures,
            faults=list(moment.faults),
            breakers=dict(moment.breakers),
        )

    def verdict(self, verdict: Verdict, *, bundle: str, status: str, message: str, exit_code: int) -> None:
        """How it ended, and what that means: the last line."""
        facts = {"bundle": bundle, "status": status, "message": message, "exit_code": exit_code}
        self.tell("verdict", **facts, verdict=json.loads(verdict.to_json()))

    def error(self, message: str, exit_code: int) -> None:
        """There is no verdict, because of this: the last line."""
        self.tell("error", message=message, exit_code=exit_code)

    def close(self) -> None:
        """Nothing is kept open."""

    def tell(self, event: str, **facts: Any) -> None:
        """One event with its time."""
        self._write({"at_s": round(self._clock.unix_s(), 6), "event": event, **facts})

    def _write(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
        with self._lock:
            if not self._is_heard:
                return
            try:
                self._out.write(line + "\n")
                self._out.flush()
            except OSError:  # the reader has left, or its disk is full
                self._is_heard = False
            if entry["event"] in LAST:
                self._is_heard = False


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value
