"""What can go wrong with a stack, each with the words that a person needs to put it right.

StackError                 the environment, not the service, is at fault (exit code 4)
├── PartDied               a process ended while it was starting or running
├── PartNotReady           a process runs but did not answer in time
├── PortBusy               a port that was asked for by name is taken
├── ProxyUnavailable       the fault proxy that was asked for cannot be used
└── StackBusy              somebody else's run or `ragquake up` holds this stack
"""

from __future__ import annotations

import re
from pathlib import Path

from chaos.errors import EnvironmentFailure

TAIL_LINES = 12
"""Enough for the end of a Python traceback, short enough to read in a terminal."""
READ_BYTES = 128 * 1024
REFERS_UP = "See root cause above"
"""How vLLM's server ends when its engine, another process, has failed: the reason stands before that."""
EXCEPTION = re.compile(r"(?:^|\s)([A-Za-z_][\w.]*(?:Error|Exception): \S.*)$")


class StackError(EnvironmentFailure):
    """The stack could not be started, used or stopped; the message says what to do next."""


class PartDied(StackError):
    """A part ended although it should run on."""

    def __init__(self, part: str, exit_code: int | None, log: Path) -> None:
        self.part = part
        self.exit_code = exit_code
        self.log = log
        super().__init__(f"{part} {_how_it_ended(exit_code)}; {_what_the_log_says(log)}")


class PartNotReady(StackError):
    """A part runs but its readiness check never passed."""

    def __init__(self, part: str, ready_url: str, waited_s: float, last: str, log: Path) -> None:
        self.part = part
        self.log = log
        super().__init__(
            f"{part} was not ready after {waited_s:.0f} s: {ready_url} {last}; {_what_the_log_says(log)}"
        )


class PortBusy(StackError):
    """A named port is taken."""

    def __init__(self, part: str, port: int, holder: str) -> None:
        self.part = part
        self.port = port
        super().__init__(
            f"port {port}, asked for by the part {part}, is taken by {holder}; "
            f"stop that process, name another port, or name none to get a free one"
        )


class ProxyUnavailable(StackError):
    """The fault proxy that was asked for is not there or cannot be used."""


class StackBusy(StackError):
    """The stack belongs to a process that is still alive."""


def log_tail(log: Path, lines: int = TAIL_LINES) -> list[str]:
    """The last lines of a log, without reading a large one whole. A missing log has none."""
    return _end_of(log)[-lines:]


def _end_of(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - READ_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()]


def root_cause(log: Path) -> str | None:
    """The exception to which the end of a log refers, where it refers to one; tracebacks hide it."""
    lines = _end_of(log)
    if not any(REFERS_UP in line for line in lines[-TAIL_LINES:]):
        return None
    found = (EXCEPTION.search(line) for line in reversed(lines) if REFERS_UP not in line)
    return next((match[1] for match in found if match), None)


def _how_it_ended(exit_code: int | None) -> str:
    if exit_code is None:
        return "ended (exit code unknown)"
    if exit_code < 0:
        return f"was ended by signal {-exit_code}"
    return f"ended with exit code {exit_code}"


def _what_the_log_says(log: Path) -> str:
    tail = log_tail(log)
    if not tail:
        return f"its log is empty ({log})"
    cause = root_cause(log)
    why = f"{cause}\n" if cause else ""
    return f"{why}the end of its log ({log}):\n" + "\n".join(f"    {line}" for line in tail)
