"""Undo records of faults on processes, carried out from the record alone and as often as one likes.

A record names processes by pid and creation time. One that is gone took its fault with it, and a pid that
belongs to another process by now is left alone: both are said, and neither is an error. Only a process that
is still there and could not be treated is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import psutil

from chaos.processes import files, signals
from chaos.processes.errors import ProcessFaultError
from chaos.stack.process import ProcessIdentity

END_GRACE_S = 0.0
"""A hog has nothing to tidy up."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One process of an undo record; `soft` is the limit of open files to go back to."""

    identity: ProcessIdentity
    soft: int | None = None


def recorded(undo: Mapping[str, Any]) -> tuple[Recorded, ...]:
    """The processes that a record names. Raises ProcessFaultError for what is no such record."""
    try:
        return tuple(
            Recorded(
                ProcessIdentity(int(one["pid"]), float(one["created_s"])),
                int(one["soft"]) if "soft" in one else None,
            )
            for one in undo["processes"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ProcessFaultError(
            f"undo {dict(undo)}: the record cannot be read ({type(error).__name__}: {error}); "
            f"it needs processes: [{{pid, created_s}}]"
        ) from None


def resume(undo: Mapping[str, Any]) -> str:
    """SIGCONT to those that stand still, and to their children."""
    found = recorded(undo)
    stood = signals.thaw(one.identity for one in found)
    return f"resumed {stood} of {_those(found)}" if stood else f"nobody stood still: {_those(found)}"


def end(undo: Mapping[str, Any]) -> str:
    """End those that run."""
    found = recorded(undo)
    ended = signals.end((one.identity for one in found), END_GRACE_S)
    return f"ended {ended} of {_those(found)}" if ended else f"had ended already: {_those(found)}"


def limit_files(undo: Mapping[str, Any]) -> str:
    """Set the soft limit of open files back."""
    said = []
    for one in recorded(undo):
        if one.soft is None:
            raise ProcessFaultError(f"undo {dict(undo)}: the record cannot be read; it needs a soft limit")
        if one.identity.process() is None:
            said.append(f"process {one.identity.pid} {_absent(one.identity)}, and its limit with it")
            continue
        before = files.limits(one.identity)
        after = files.set_soft(one.identity, one.soft)
        same = before is not None and after is not None and before.soft == after.soft
        limit = after.soft if after else one.soft
        verb = "already has" if same else "again has"
        said.append(f"process {one.identity.pid} {verb} a limit of {limit} open files")
    return "; ".join(said) or "no process to give its limit back to"


def start_part(undo: Mapping[str, Any]) -> str:
    """Nothing: whoever undoes from records stops the stack as well, so the part is not wanted any more."""
    recorded(undo)
    return f"{undo.get('part')} is not started again: its stack is being stopped"


DOES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "resume": resume,
    "end": end,
    "limit_files": limit_files,
    "start_part": start_part,
}


def all_gone(undo: Mapping[str, Any]) -> bool:
    """Whether a record names processes and none of them is left, so that its fault is gone, too."""
    try:
        found = recorded(undo)
    except ProcessFaultError:
        return False
    return bool(found) and not any(one.identity.alive for one in found)


def _those(found: Iterable[Recorded]) -> str:
    parts = [_word(one.identity) for one in found]
    return f"process {', '.join(parts)}" if parts else "no process"


def _word(identity: ProcessIdentity) -> str:
    return str(identity.pid) if identity.alive else f"{identity.pid} ({_absent(identity)})"


def _absent(identity: ProcessIdentity) -> str:
    try:
        same = identity.is_of(psutil.Process(identity.pid))
    except psutil.Error:
        return "is gone"
    return "is gone" if same else "is another process by now and was left alone"
