"""Keeps the log from growing with what callers do: each line at most so often, and the rest counted.

uvicorn warns about every invalid request, so a script that sends garbage could fill a disk; a receiver of
spans that is down would repeat itself twice a second. What is the same line is told by its template.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]

MOST = 5
EVERY_S = 10.0
_MOST_TEMPLATES = 1000


@dataclass(slots=True)
class _Line:
    since: float
    said: int = 0
    unsaid: int = 0


class Sparing(logging.Filter):
    """Lets `most` records of each template through in `every_s`; the next one then says how many were not."""

    def __init__(self, most: int = MOST, every_s: float = EVERY_S, clock: Clock = time.monotonic) -> None:
        super().__init__()
        self._most = most
        self._every_s = every_s
        self._clock = clock
        self._lines: dict[tuple[str, str], _Line] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        key = (record.name, str(record.msg)[:200])
        line = self._lines.get(key)
        if line is None:
            if len(self._lines) >= _MOST_TEMPLATES:
                self._lines.clear()
            line = self._lines[key] = _Line(now)
        if now - line.since >= self._every_s:
            if line.unsaid:
                record.msg = f"{record.getMessage()} (and {line.unsaid} more like it)"
                record.args = ()
            line.since, line.said, line.unsaid = now, 0, 0
        if line.said >= self._most:
            line.unsaid += 1
            return False
        line.said += 1
        return True


def log_sparingly() -> None:
    """Warnings and errors of this process to stderr. Call it before uvicorn sets up its own logging."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.WARNING)  # some libraries set their own loggers to DEBUG
        handler.addFilter(Sparing())
    logging.getLogger("uvicorn.error").addFilter(Sparing())
