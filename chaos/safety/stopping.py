"""`ragquake stop`: pull the safety lever, and see that the runs that it is to stop do stop.

Runs are found by the mark in the environment of their parts, whatever folders they use; one that has not
started a part yet is not seen here, but sees the lever itself. Runs with another lever are not waited for.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from chaos.clock import Clock
from chaos.safety.lever import VARIABLE, Lever, pull
from chaos.stack.description import read_description
from chaos.stack.errors import StackError
from chaos.stack.process import ProcessIdentity, marked, marks

WAIT_S = 15.0
"""A run needs 2 s; a warden takes over from a runner that does not, 8 s later."""
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class RunUnderWay:
    """A run whose runner lives."""

    bundle: Path
    runner: ProcessIdentity

    @property
    def has_ended(self) -> bool:
        return not self.runner.alive and not marked(str(self.bundle / "stack.json"))


@dataclass(frozen=True, slots=True)
class Stopped:
    """What became of the runs that were under way."""

    lever: Lever
    ended: tuple[RunUnderWay, ...]
    going: tuple[RunUnderWay, ...]

    def sentence(self) -> str:
        """In words, with what to do about runs that go on."""
        said = [self.lever.sentence()]
        if not self.ended and not self.going:
            said.append("no run was under way")
        if self.ended:
            said.append(f"ended and rolled back: {', '.join(str(run.bundle) for run in self.ended)}")
        for run in self.going:
            said.append(
                f"{run.bundle} has not ended after {WAIT_S:g} s; kill -9 {run.runner.pid} leaves the rest to "
                f"its warden, then look with ragquake rollback {run.bundle}"
            )
        said.append("no run starts until: ragquake stop --release")
        return "; ".join(said)


def runs_under_way() -> list[RunUnderWay]:
    """Every run of this user on the machine that has started a part."""
    found = []
    for mark in sorted(marks()):
        with suppress(StackError):
            description = read_description(Path(mark))
            runner = description.living().get("runner") if description else None
            if runner is not None and _looks_at_this_lever(runner):
                found.append(RunUnderWay(Path(mark).parent, runner))
    return found


def _looks_at_this_lever(runner: ProcessIdentity) -> bool:
    process = runner.process()
    try:
        environment = process.environ() if process is not None else {}
    except (psutil.Error, OSError):
        return True  # it hides its environment; it is waited for in vain rather than overlooked
    return environment.get(VARIABLE) == os.environ.get(VARIABLE)


def stop_all(reason: str, clock: Clock, wait_s: float = WAIT_S) -> Stopped:
    """Pull the lever and wait for the runs to end. Raises EnvironmentFailure when it cannot be pulled."""
    runs = runs_under_way()
    lever = pull(reason)
    until_s = clock.monotonic_s() + wait_s
    while not all(run.has_ended for run in runs) and clock.monotonic_s() < until_s:
        clock.sleep(_LOOK_EVERY_S)
    ended = tuple(run for run in runs if run.has_ended)
    return Stopped(lever, ended, tuple(run for run in runs if run not in ended))
