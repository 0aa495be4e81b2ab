"""How many files a process may hold open, looked at and set from outside (prlimit; Linux alone has it).

The limit is on the *number* of a descriptor, not on how many there are: with gaps among the numbers, a limit
of "as many as are open" would still leave room. So the numbers in use are read, and the limit is the lowest
one that leaves exactly as many free numbers below it as asked.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import psutil

from chaos.processes.errors import ProcessFaultError
from chaos.stack.process import ProcessIdentity

NOT_HERE = "limits of another process can be set on Linux only (prlimit); on this system leave this fault out"


@dataclass(frozen=True, slots=True)
class FileLimits:
    """The soft and the hard limit of one process; -1 is none."""

    process: ProcessIdentity
    soft: int
    hard: int


def limits(of: ProcessIdentity) -> FileLimits | None:
    """The limits as they are; nothing when the process is gone. Raises ProcessFaultError."""
    process = _able(of)
    try:
        return FileLimits(of, *process.rlimit(psutil.RLIMIT_NOFILE)) if process is not None else None
    except psutil.NoSuchProcess:
        return None
    except (psutil.AccessDenied, PermissionError):
        raise ProcessFaultError(f"no permission to see the limits of process {of.pid}; {_WHO}") from None


def set_soft(of: ProcessIdentity, soft: int) -> FileLimits | None:
    """Set the soft limit, never above the hard one, which stays; nothing when the process is gone."""
    found = limits(of)
    process = _able(of)
    if found is None or process is None:
        return None
    allowed = soft if found.hard == psutil.RLIM_INFINITY else min(soft, found.hard)
    allowed = found.hard if soft == psutil.RLIM_INFINITY else allowed
    try:
        process.rlimit(psutil.RLIMIT_NOFILE, (allowed, found.hard))
    except psutil.NoSuchProcess:
        return None
    except (psutil.AccessDenied, PermissionError):
        raise ProcessFaultError(f"no permission to limit process {of.pid}; {_WHO}") from None
    return limits(of)


def open_numbers(of: ProcessIdentity) -> frozenset[int]:
    """The numbers of the descriptors that a process holds; none when it is gone. Raises ProcessFaultError."""
    if _able(of) is None:
        return frozenset()
    try:
        return frozenset(int(one.name) for one in Path(f"/proc/{of.pid}/fd").iterdir())
    except FileNotFoundError:
        return frozenset()
    except PermissionError:
        raise ProcessFaultError(f"no permission to see the files of process {of.pid}; {_WHO}") from None


def limit_leaving(numbers: Collection[int], leave: int) -> int:
    """The highest limit under which exactly `leave` numbers are free."""
    used = set(numbers)
    limit = free = 0
    while free < leave or limit in used:
        free += limit not in used
        limit += 1
    return limit


def free_below(numbers: Collection[int], limit: int) -> int:
    """How many descriptors can still be opened under a limit."""
    return limit - sum(number < limit for number in numbers)


_WHO = "run ragquake as the user who owns it"


def _able(of: ProcessIdentity) -> psutil.Process | None:
    if not hasattr(psutil, "RLIMIT_NOFILE"):
        raise ProcessFaultError(NOT_HERE)
    return of.process()
