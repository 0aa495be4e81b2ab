"""What can be done to the processes of a stack, as faults ask for it.

Only parts that ragquake started are here: a model server behind `--llm URL`, a proxy of somebody else and a
container answer with a refusal that says what to do. Every signal goes by pid *and* creation time, so a pid
that came round again is never touched. A part that a fault ended is excused until it is ready again: its
death is what was asked for, and must not end the run.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from chaos.clock import Clock, SystemClock
from chaos.processes import files, signals
from chaos.processes.errors import ProcessFaultError
from chaos.processes.hogs import Hogs
from chaos.stack.description import StackDescription
from chaos.stack.process import ProcessIdentity

PARTS = ("service", "vector_db", "llm")
"""The parts that faults on processes act on; the others (proxy, journeys, warden) measure and protect."""
HOW_TO_HAVE_ONE = "faults on processes need a part that ragquake started: the local stack, without --llm URL"


class OwnStack(Protocol):
    """What a stack whose processes are ours lets faults do with them."""

    @property
    def description(self) -> StackDescription: ...

    @property
    def logs(self) -> Path: ...

    def child_environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]: ...

    def adopt(
        self,
        name: str,
        process: subprocess.Popen[bytes] | ProcessIdentity,
        log: Path | None = None,
        *,
        command: Sequence[str] = (),
    ) -> None: ...

    def forget(self, name: str) -> None: ...

    def excuse(self, part: str) -> None: ...

    def start_again(self, part: str) -> ProcessIdentity: ...

    def wait_again(self, part: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Absence:
    """A part was away: ended at `from_s` (Unix time), ready again `away_s` later, as another process."""

    part: str
    from_s: float
    before: ProcessIdentity
    after: ProcessIdentity | None = None
    away_s: float | None = None


class Processes:
    """The parts of one stack, by name, as far as faults may touch them, and the hogs beside them.

    Without a stack every call is refused; `why` says what kind of stack it is.
    """

    def __init__(
        self,
        stack: OwnStack | None = None,
        *,
        why: str = "no process of this stack is ragquake's own",
        clock: Clock | None = None,
    ) -> None:
        self._stack = stack
        self._why = why
        self._clock: Clock = clock or SystemClock()
        self._absences: dict[str, Absence] = {}
        self._soft_limits: dict[ProcessIdentity, int] = {}
        self._hogs = Hogs(stack, self._clock) if stack else None

    @property
    def hogs(self) -> Hogs:
        """The hogs. Raises ProcessFaultError without a stack of our own."""
        if self._hogs is None:
            raise self._refusal("hogs")
        return self._hogs

    def of(self, part: str) -> ProcessIdentity:
        """The process of a part that runs. Raises ProcessFaultError when it is not ours, or does not run."""
        identity = self._recorded(part)
        if not identity.alive:
            raise ProcessFaultError(
                f"{part} (pid {identity.pid}) does not run any more, so nothing can be done to it; "
                f"if a fault ended it, take that fault out first"
            )
        return identity

    def members(self, part: str) -> tuple[ProcessIdentity, ...]:
        """The part's process, then all that descend from it; refuses as `of` does."""
        return signals.members(self.of(part))

    def living(self, part: str) -> tuple[ProcessIdentity, ...]:
        """The same, and nobody when the part does not run."""
        return signals.members(self._recorded(part))

    def freeze(self, part: str) -> tuple[ProcessIdentity, ...]:
        """SIGSTOP to the part and its children; returns those who stand still."""
        return signals.freeze(self.of(part), self._clock)

    def end(self, part: str, grace_s: float = 0.0) -> Absence:
        """End the part: SIGTERM and the grace, then SIGKILL; without a grace SIGKILL at once."""
        before = self.of(part)
        stack = self._own()
        stack.excuse(part)
        gone = Absence(part, self._clock.unix_s(), before)
        self._absences[part] = gone
        signals.end(signals.members(before), grace_s)
        return gone

    def start(self, part: str) -> Absence:
        """Start an ended part again as it was, and wait until it is ready. Once more changes nothing.

        Raises StackError when it does not come back.
        """
        gone = self._absences.get(part)
        if gone is None:
            raise ProcessFaultError(f"{part} was not ended by a fault, so it is not started again")
        if gone.away_s is not None:
            return gone
        after = self._own().start_again(part)
        self._own().wait_again(part)
        back = replace(gone, after=after, away_s=round(self._clock.unix_s() - gone.from_s, 3))
        self._absences[part] = back
        return back

    def absence(self, part: str) -> Absence | None:
        """The last time that a fault ended the part."""
        return self._absences.get(part)

    def own_limit(self, part: str) -> files.FileLimits:
        """The limits of open files as they were before a fault first asked. Raises ProcessFaultError."""
        identity = self.of(part)
        now = files.limits(identity)
        if now is None:
            raise ProcessFaultError(f"{part} (pid {identity.pid}) ended while its limits were read")
        return replace(now, soft=self._soft_limits.setdefault(identity, now.soft))

    def _recorded(self, part: str) -> ProcessIdentity:
        parts = self._own().description.parts
        record = parts.get(part)
        if record is None:
            raise ProcessFaultError(f"this stack has no part {part!r}; it has {', '.join(parts)}")
        if record.identity is None:
            raise ProcessFaultError(
                f"{part} runs at {record.url} and was not started by ragquake, which leaves it alone; "
                f"{HOW_TO_HAVE_ONE}"
            )
        return record.identity

    def _own(self) -> OwnStack:
        if self._stack is None:
            raise self._refusal("its parts")
        return self._stack

    def _refusal(self, what: str) -> ProcessFaultError:
        return ProcessFaultError(f"{what}: {self._why}; {HOW_TO_HAVE_ONE}")
