"""Stop what a stack.json names, whoever started it, as often as one likes.

The runner, the warden, `ragquake rollback` and `ragquake down` all end a stack through this one function.
It goes by the record first (pid and creation time), then by the mark in the environment, because a
process that was started in the instant in which its runner was killed is in no record.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chaos.stack.description import StackDescription
from chaos.stack.process import marked, stop_processes

SWEEPS = 3
"""A swept process may have been starting another one; more rounds than that have never found any."""


@dataclass(frozen=True, slots=True)
class Teardown:
    """What was stopped: recorded parts by name, and how many processes only their mark gave away."""

    stopped: tuple[str, ...] = ()
    strays: int = 0


def stop_recorded(
    stack_file: Path,
    description: StackDescription | None,
    *,
    grace_s: float,
    spare: tuple[str, ...] = (),
) -> Teardown:
    """Stop every living part of the description but the spared ones, all at once, then sweep up strays."""
    marks = [str(stack_file.absolute())]
    if description is not None and description.lent_by is not None:
        marks.append(description.lent_by)
    living = description.living() if description else {}
    chosen = {name: identity.process() for name, identity in living.items() if name not in spare}
    spared = {identity.pid for name, identity in living.items() if name in spare}
    running = {name: process for name, process in chosen.items() if process is not None}
    strays = 0
    try:
        stop_processes(running.values(), grace_s)
    finally:
        for _ in range(SWEEPS):
            found = [process for process in marked(*marks) if process.pid not in spared]
            if not found:
                break
            strays += len(found)
            stop_processes(found, grace_s)
    return Teardown(stopped=tuple(running), strays=strays)
