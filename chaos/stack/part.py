"""One process of the stack: how it starts, when it is ready, how it ends.

A part runs in a session of its own, so that Ctrl-C at the terminal reaches the runner alone and the
runner decides what ends in which order. Its output goes to a file from the first byte, because the most
useful message of a process that dies at start is the last line that it wrote. Waiting is one loop over
all parts: a part that dies ends the wait at once, for all of them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from chaos.clock import Clock
from chaos.stack.errors import PartDied, PartNotReady, StackError
from chaos.stack.process import ProcessIdentity, spawned, stop_processes

POLL_S = 0.1
TELL_EVERY_S = 15.0
"""While a part starts: often enough that nobody takes it for stuck, too rarely to fill a screen."""
STOP_GRACE_S = 5.0
"""uvicorn lets open answers finish on SIGTERM; a stream of the model server takes a few seconds."""


@dataclass(frozen=True, slots=True)
class PartPlan:
    """What to start and how to see that it is ready; without `ready_url` a part is ready when it runs."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    url: str | None = None
    ready_url: str | None = None
    ready_timeout_s: float = 60.0
    nice: int = 0


class Part:
    """A started process; only `Part.start` makes one."""

    def __init__(self, plan: PartPlan, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.plan = plan
        self.log = log
        self.identity: ProcessIdentity = spawned(popen)
        self._popen = popen

    @classmethod
    def start(cls, plan: PartPlan, logs: Path) -> Part:
        """Start the process, output appended to LOGS/<name>.log. Raises StackError if it cannot be run."""
        logs.mkdir(parents=True, exist_ok=True)
        log = logs / f"{plan.name}.log"
        with log.open("ab") as output:
            try:
                popen = subprocess.Popen(
                    plan.command,
                    env=dict(plan.env),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise StackError(
                    f"{plan.name} could not be started: {plan.command[0]}: {error.strerror or error}"
                ) from error
        if plan.nice > 0:
            _lower_priority(popen.pid, plan.nice)
        return cls(plan, popen, log)

    @property
    def name(self) -> str:
        return self.plan.name

    def exit_code(self) -> int | None:
        """The exit code once the process has ended (negative: the signal that ended it), else nothing."""
        return self._popen.poll()

    def require_alive(self) -> None:
        """Raise PartDied when the process has ended."""
        code = self.exit_code()
        if code is not None:
            raise PartDied(self.name, code, self.log)

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """End the process and its descendants; one that ended before is left in peace."""
        process = self.identity.process()
        if process is not None:
            stop_processes([process], grace_s)
        self._popen.poll()


def wait_ready(
    parts: Iterable[Part],
    clock: Clock,
    *,
    on_ready: Callable[[Part, float], None] = lambda _part, _took_s: None,
    on_waiting: Callable[[Part, float], None] = lambda _part, _waited_s: None,
) -> None:
    """Wait until every part answers 200 at its `ready_url`; each part's patience counts from now.

    `on_waiting` hears of each part that is not ready every `TELL_EVERY_S`.

    Raises PartDied as soon as one of them ends, PartNotReady when one takes longer than it may.
    """
    waiting = list(parts)
    everyone = list(waiting)
    started_s = clock.monotonic_s()
    told_s = started_s
    with httpx.Client(timeout=2.0, trust_env=False) as client:
        while waiting:
            for part in everyone:
                part.require_alive()
            for part in tuple(waiting):
                waited_s = clock.monotonic_s() - started_s
                refusal = _refusal(client, part.plan.ready_url)
                if refusal is None:
                    waiting.remove(part)
                    on_ready(part, waited_s)
                elif waited_s > part.plan.ready_timeout_s:
                    part.require_alive()
                    raise PartNotReady(part.name, str(part.plan.ready_url), waited_s, refusal, part.log)
            if clock.monotonic_s() - told_s >= TELL_EVERY_S:
                told_s = clock.monotonic_s()
                for part in waiting:
                    on_waiting(part, told_s - started_s)
            if waiting:
                clock.sleep(POLL_S)
    for part in everyone:
        part.require_alive()


def wait_finished(
    part: Part,
    clock: Clock,
    *,
    timeout_s: float,
    on_tick: Callable[[Part], None] = lambda _part: None,
) -> None:
    """Wait for a part that does one job and ends. Raises PartDied when it ends with a code other than 0."""
    started_s = clock.monotonic_s()
    while (code := part.exit_code()) is None:
        if clock.monotonic_s() - started_s > timeout_s:
            raise PartNotReady(
                part.name, "its job", clock.monotonic_s() - started_s, "had not finished", part.log
            )
        on_tick(part)
        clock.sleep(POLL_S)
    if code != 0:
        raise PartDied(part.name, code, part.log)


def _refusal(client: httpx.Client, ready_url: str | None) -> str | None:
    """Why the part is not ready yet, or nothing when it is."""
    if ready_url is None:
        return None
    try:
        answer = client.get(ready_url)
    except httpx.HTTPError as error:
        return f"gave {type(error).__name__}"
    return None if answer.status_code == 200 else f"answered {answer.status_code}"


def _lower_priority(pid: int, nice: int) -> None:
    """Right after the start there is one thread, and later ones inherit its priority."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, max(nice, os.getpriority(os.PRIO_PROCESS, pid)))
    except ProcessLookupError:
        return
