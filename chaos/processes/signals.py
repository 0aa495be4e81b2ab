"""Signals to processes by pid and creation time, to a part together with all that descends from it.

A stopped process says nothing of it, so whether it stands still is asked of the kernel. Its children go on
while it stands, and may start others: hence rounds, until everybody in the family has been seen to stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import psutil

from chaos.clock import Clock
from chaos.processes.errors import ProcessFaultError
from chaos.stack.process import ProcessIdentity, created_s, family, stop_processes

WITHIN_S = 2.0
"""A process in the middle of a disk read takes the signal after it; longer than that, something is wrong."""
POLL_S = 0.01


def members(identity: ProcessIdentity) -> tuple[ProcessIdentity, ...]:
    """A process and all that descend from it, the first one first; nobody when it is gone or another one."""
    root = identity.process()
    if root is None:
        return ()
    return tuple(_identities(family([root])))


def freeze(identity: ProcessIdentity, clock: Clock) -> tuple[ProcessIdentity, ...]:
    """SIGSTOP to a process and its descendants; returns who stands still. Raises ProcessFaultError."""
    until_s = clock.monotonic_s() + WITHIN_S
    while True:
        everyone = members(identity)
        if not everyone:
            raise ProcessFaultError(f"process {identity.pid} ended while it was being stopped")
        moving = [one for one in everyone if not one.suspended]
        if not moving:
            return everyone
        if clock.monotonic_s() > until_s:
            pids = ", ".join(str(one.pid) for one in moving)
            raise ProcessFaultError(f"process {pids} did not stand still {WITHIN_S:g} s after SIGSTOP")
        for one in moving:
            send(one, psutil.Process.suspend, "stop")
        clock.sleep(POLL_S)


def thaw(identities: Iterable[ProcessIdentity]) -> int:
    """SIGCONT to those processes, and their descendants, that stand still; returns how many stood."""
    standing = {each for one in identities for each in (one, *members(one)) if each.suspended}
    for one in standing:
        send(one, psutil.Process.resume, "resume")
    return len(standing)


def frozen(identities: Iterable[ProcessIdentity]) -> tuple[ProcessIdentity, ...]:
    """Those of the processes that stand still, as the kernel says."""
    return tuple(one for one in identities if one.suspended)


def end(identities: Iterable[ProcessIdentity], grace_s: float) -> int:
    """SIGTERM to the processes and their descendants, SIGKILL after the grace; returns how many ran."""
    running = [process for one in identities if (process := one.process()) is not None]
    if grace_s > 0:
        stop_processes(running, grace_s)
    else:
        for process in family(running):
            send(_identity(process), psutil.Process.kill, "kill")
        stop_processes(running, 0.0)
    left = [one.pid for one in map(_identity, running) if one.alive]
    if left:
        raise ProcessFaultError(f"process {', '.join(map(str, left))} survived SIGKILL; look with: ps -p PID")
    return len(running)


def send(one: ProcessIdentity, signal: Callable[[psutil.Process], None], what: str) -> None:
    """One signal, if the pid still is that process; one that is gone needs none."""
    process = one.process()
    if process is None:
        return
    try:
        signal(process)
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied:
        raise ProcessFaultError(
            f"no permission to {what} process {one.pid}; run ragquake as the user who owns it"
        ) from None


def _identities(processes: Iterable[psutil.Process]) -> Iterable[ProcessIdentity]:
    for process in processes:
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                yield ProcessIdentity(process.pid, created_s(process))
        except psutil.Error:
            continue


def _identity(process: psutil.Process) -> ProcessIdentity:
    try:
        return ProcessIdentity(process.pid, created_s(process))
    except psutil.Error:
        return ProcessIdentity(process.pid, 0.0)
