"""Hogs: processes of our own that take CPU time or memory from the parts, for as long as a fault lasts.

Each is started before its undo is written down and takes nothing until it is set off (see
`chaos.processes.hog`). It stands in stack.json like any other process of the stack, so its cost is among the
run's resource figures and whoever cleans up after a dead runner ends it, should it not have ended by itself.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import psutil

from chaos.clock import Clock
from chaos.processes import hog, signals
from chaos.processes.errors import ProcessFaultError
from chaos.stack.process import ProcessIdentity, spawned

if TYPE_CHECKING:
    from chaos.processes.processes import OwnStack

PROGRAM = Path(hog.__file__)
START_WITHIN_S = 10.0
BUSY_WITHIN_S = 5.0
POLL_S = 0.02
SLOWEST_MIB_PER_S = 200.0
"""Taking memory: an idle machine gives 2,000 and more; the page cache has to make room for some of it."""


@dataclass(frozen=True, slots=True)
class HogState:
    """What one hog has taken so far."""

    process: ProcessIdentity
    alive: bool
    cpu_s: float = 0.0
    rss_bytes: int = 0


class Hogs:
    """The hogs of one run, by the name of the fault that they belong to."""

    def __init__(self, stack: OwnStack, clock: Clock) -> None:
        self._stack = stack
        self._clock = clock
        self._hogs: dict[str, list[subprocess.Popen[bytes]]] = {}
        self._identities: dict[str, list[ProcessIdentity]] = {}
        self._set_off_s: dict[str, float] = {}

    def hire(self, name: str, orders: Sequence[Sequence[str]], nice: int) -> None:
        """Start one hog for each order (`cpu 0.5`, `memory 200`) with that priority; they wait."""
        if name in self._hogs:
            raise ProcessFaultError(f"the hogs of {name} are there already; dismiss them first")
        self._hogs[name], self._identities[name] = [], []
        try:
            for number, order in enumerate(orders):
                self._start(name, number, order, nice)
            for started in self._hogs[name]:
                self._hear(name, started, "waiting", START_WITHIN_S)
        except BaseException:
            self.dismiss(name)
            raise

    def set_off(self, name: str) -> None:
        """Let them begin; returns when each is seen to take something. Raises ProcessFaultError."""
        before = {state.process: state.cpu_s for state in self.states(name)}
        for started in self._hogs.get(name, ()):
            try:
                cast(IO[bytes], started.stdin).write(b"go\n")
            except BrokenPipeError:
                raise ProcessFaultError(f"a hog of {name} (pid {started.pid}) ended too early") from None
        self._set_off_s[name] = self._clock.monotonic_s()
        idle = set(before)
        for started, identity in zip(self._hogs.get(name, ()), self.identities(name), strict=True):
            words = cast(Sequence[str], started.args)
            if "memory" in words:
                mib = float(words[words.index("memory") + 1])
                self._hear(name, started, "held_mib", START_WITHIN_S + mib / SLOWEST_MIB_PER_S)
                idle.discard(identity)
        until_s = self._clock.monotonic_s() + BUSY_WITHIN_S
        while idle := {one for one in idle if _state(one).cpu_s <= before[one]}:
            ended = [one for one in idle if not one.alive]
            if ended or self._clock.monotonic_s() > until_s:
                pids = ", ".join(str(one.pid) for one in ended or idle)
                what = "ended" if ended else "got no CPU time"
                raise ProcessFaultError(f"hogs of {name} (pid {pids}) {what} after they were set off")
            self._clock.sleep(POLL_S)

    def identities(self, name: str) -> tuple[ProcessIdentity, ...]:
        """The processes of that name, as they were started."""
        return tuple(self._identities.get(name, ()))

    def states(self, name: str) -> tuple[HogState, ...]:
        """What the hogs of that name have taken, as the kernel says."""
        return tuple(_state(identity) for identity in self.identities(name))

    def at_work_s(self, name: str) -> float:
        """How long ago they were set off."""
        return self._clock.monotonic_s() - self._set_off_s.get(name, self._clock.monotonic_s())

    def dismiss(self, name: str) -> None:
        """End the hogs of that name and forget them; without any, nothing happens."""
        signals.end(self.identities(name), 0.0)
        for started in self._hogs.get(name, ()):
            for pipe in (started.stdin, started.stdout):
                if pipe is not None:
                    pipe.close()
            started.wait(signals.WITHIN_S)
        for number in range(len(self._hogs.get(name, ()))):
            self._stack.forget(_record_name(name, number))
        for kept in (self._hogs, self._identities, self._set_off_s):
            cast(dict[str, Any], kept).pop(name, None)

    def _start(self, name: str, number: int, order: Sequence[str], nice: int) -> None:
        log = self._stack.logs / "hogs.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            started = subprocess.Popen(
                [sys.executable, "-I", "-S", str(PROGRAM), *order],
                env=self._stack.child_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                bufsize=0,
            )
        self._hogs[name].append(started)
        self._identities[name].append(spawned(started))
        os.setpriority(os.PRIO_PROCESS, started.pid, max(nice, os.getpriority(os.PRIO_PROCESS, started.pid)))
        self._stack.adopt(_record_name(name, number), started, log)

    def _hear(self, name: str, started: subprocess.Popen[bytes], word: str, within_s: float) -> None:
        said: Mapping[str, Any] = {}
        output = cast(IO[bytes], started.stdout)
        if select.select([output], [], [], within_s)[0]:
            heard = output.readline()
            said = json.loads(heard) if heard.strip() else {}
        if word not in said:
            why = said.get("error") or ("it ended" if started.poll() is not None else "it said nothing")
            raise ProcessFaultError(
                f"a hog of {name} (pid {started.pid}) did not do as told within {within_s:g} s: {why}; "
                f"its errors are in {self._stack.logs / 'hogs.log'}"
            )


def nice_of(identity: ProcessIdentity) -> int:
    """The priority of a process (0 is usual, 19 the lowest)."""
    process = identity.process()
    try:
        return int(process.nice()) if process else 0
    except psutil.Error:
        return 0


def _state(identity: ProcessIdentity) -> HogState:
    process = identity.process()
    if process is None:
        return HogState(identity, alive=False)
    try:
        with process.oneshot():
            times = process.cpu_times()
            return HogState(identity, True, times.user + times.system, int(process.memory_info().rss))
    except psutil.Error:
        return HogState(identity, alive=False)


def _record_name(name: str, number: int) -> str:
    return f"hog {name} {number + 1}"
