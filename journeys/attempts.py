"""The record of what users saw: one line of `attempts.jsonl` for each attempt that has ended.

A second file, where the plan asks for one, has a line for each attempt as it begins: whoever watches the run
would otherwise not see those that hang.

A line is written with one `write` on a descriptor opened for appending, so a process that is killed
leaves whole lines and at most one torn last one. The keys are described in docs/reference/attempts.md.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One HTTP request of a journey, or an arrival that was dropped. Times are Unix time."""

    trace_id: str | None = None
    span_id: str | None = None
    session_id: str | None = None
    journey: str
    arrival: int
    step: int
    attempt: int | None = None
    phase: str | None
    intended_start_s: float
    start_s: float | None = None
    first_token_s: float | None = None
    end_s: float | None = None
    latency_s: float | None = None
    largest_gap_s: float | None = None
    tokens: int | None = None
    terminal_events: int | None = None
    stream: bool | None = None
    status: int | None = None
    outcome: str | None = None
    service_outcome: str | None = None
    degraded: list[Any] | None = None
    citations: list[str] | None = None
    question: str | None
    relevant: list[str]
    dropped: bool = False

    def line(self) -> bytes:
        """This attempt as one line of JSON; times to the microsecond."""
        values = {
            key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(self).items()
        }
        text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace") + b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """An attempt that is under way from now on. Times are Unix time."""

    trace_id: str
    intended_start_s: float
    start_s: float
    stream: bool

    def line(self) -> bytes:
        """This beginning as one line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":")).encode() + b"\n"


class AttemptLog:
    """Appends attempts to a file, each flushed whole; with `redact` without the question."""

    def __init__(self, path: Path, *, redact: bool = False) -> None:
        self._redact = redact
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def write(self, attempt: Attempt | Begun) -> None:
        if self._redact and isinstance(attempt, Attempt):
            attempt = replace(attempt, question=None)
        line = attempt.line()
        written = os.write(self._fd, line)
        if written != len(line):
            raise OSError(
                f"{self._path}: only {written} of {len(line)} bytes of an attempt were written; "
                "free some space on that disk and run again"
            )

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
