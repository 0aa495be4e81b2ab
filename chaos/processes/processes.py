"""What can be done to the processes of a stack, as faults ask for it.

Only parts that ragquake started are here: a model server behind `--llm URL`, a proxy of somebody else and a
container answer with a refusal that says what to do. Every call checks pid *and* creation time before it
signals, so a pid that came round again is never touched.
"""

from __future__ import annotations

from typing import Protocol

from chaos.errors import EnvironmentFailure
from chaos.stack.process import ProcessIdentity

HOW_TO_HAVE_ONE = (
    "faults on processes act on parts that ragquake started: use the local stack, without --llm URL"
)


class ProcessFaultError(EnvironmentFailure):
    """A process could not be treated as asked; the message says which, why, and what to do."""


class Processes(Protocol):
    """The parts of a stack, by name, as far as faults may touch them."""

    def members(self, part: str) -> tuple[ProcessIdentity, ...]:
        """The part's process, then all that descend from it. Raises ProcessFaultError for a part not ours."""
        ...


class NoProcesses:
    """A stack none of whose processes may be touched."""

    def __init__(self, why: str = "this stack has no process of ours") -> None:
        self._why = why

    def members(self, part: str) -> tuple[ProcessIdentity, ...]:
        raise ProcessFaultError(f"{part}: {self._why}; {HOW_TO_HAVE_ONE}")
