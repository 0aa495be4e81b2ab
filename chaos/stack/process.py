"""Processes by pid *and* creation time, so that a signal never reaches a stranger.

A pid alone is a guess: after a crash the number may belong to somebody's editor. stack.json therefore
keeps the creation time beside it, and a process is signalled only when both agree. On Linux that time
counts from boot, as the kernel keeps it: the Unix time of it moves when somebody sets the clock, and a clock
set by seconds (a virtual machine that goes on, a late NTP) would make every living part look dead, and the
warden end a healthy run.

A process can be lost between its start and the line that records it (the runner was killed in that
instant), so children also carry a mark in their environment: the path of the stack.json they belong to.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import psutil

CREATED_TOLERANCE_S = 0.1
"""The kernel counts in hundredths, records keep thousandths."""
MARK = "RAGQUAKE_STACK"
"""Environment variable of every child: the absolute path of its stack.json."""
STANDING = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
POLL_S = 0.02
KILL_WAIT_S = 2.0
"""How long the kernel may take to bury a process after SIGKILL."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process of this machine, told apart from any later holder of its pid."""

    pid: int
    created_s: float

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """The identity of a living process (or of a zombie). Raises psutil.NoSuchProcess for no process."""
        return cls(pid=pid, created_s=created_s(psutil.Process(pid)))

    @classmethod
    def of_this_process(cls) -> ProcessIdentity:
        return cls.of(os.getpid())

    def process(self) -> psutil.Process | None:
        """The process, when it still runs and is the same one; zombies do not count as running."""
        try:
            process = psutil.Process(self.pid)
            return process if self.is_of(process) and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None

    def is_of(self, process: psutil.Process) -> bool:
        """Whether a process with this pid is the one that was meant."""
        return abs(created_s(process) - self.created_s) <= CREATED_TOLERANCE_S

    @property
    def alive(self) -> bool:
        return self.process() is not None

    @property
    def suspended(self) -> bool:
        """Whether it stands still: SIGSTOP, Ctrl-Z, or a debugger that holds it."""
        process = self.process()
        try:
            return process is not None and process.status() in STANDING
        except psutil.Error:
            return False


def created_s(process: psutil.Process) -> float:
    """When a process began: seconds from boot on Linux, Unix time where the kernel keeps that itself."""
    began_s = process.create_time()
    return round(began_s - psutil.boot_time() if psutil.LINUX else began_s, 3)


def family(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """The processes and all that descend from them, each once."""
    members: dict[int, psutil.Process] = {}
    for process in processes:
        members.setdefault(process.pid, process)
        try:
            for child in process.children(recursive=True):
                members.setdefault(child.pid, child)
        except psutil.Error:
            continue
    return list(members.values())


def marked(*marks: str) -> list[psutil.Process]:
    """Running processes of this user whose environment carries one of the marks, this process excepted."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) in marks:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return [process for process in found if _runs(process)]


def marks() -> set[str]:
    """The marks of all running processes of this user that carry one."""
    found = set()
    for process in psutil.process_iter():
        try:
            if _runs(process) and (mark := process.environ().get(MARK)):
                found.add(mark)
        except (psutil.Error, OSError):
            continue
    return found


def stop_processes(processes: Iterable[psutil.Process], grace_s: float) -> None:
    """SIGTERM to the processes and their descendants, all at once; SIGKILL to those left after the grace.

    SIGCONT follows the first: a process that a fault has paused would otherwise never hear it.
    An interruption while waiting (a second Ctrl-C) cuts the grace short instead of leaving orphans.
    """
    members = family(processes)
    for process in members:
        _signal(process, psutil.Process.terminate)
        _signal(process, psutil.Process.resume)
    left = members
    try:
        left = _wait_gone(members, grace_s)
    finally:
        stubborn = family(process for process in left if _runs(process))
        for process in stubborn:
            _signal(process, psutil.Process.kill)
        _wait_gone(stubborn, KILL_WAIT_S)


def spawned(popen: subprocess.Popen[bytes]) -> ProcessIdentity:
    """The identity of a child just started; one that is already gone keeps its pid with no creation time."""
    try:
        return ProcessIdentity.of(popen.pid)
    except psutil.Error:
        return ProcessIdentity(pid=popen.pid, created_s=0.0)


def _wait_gone(processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Those that still run after the timeout. psutil.wait_procs would wait for zombies, too, and in a
    container whose first process reaps nobody, orphans stay zombies for ever."""
    until_s = time.monotonic() + timeout_s
    while left := [process for process in processes if _runs(process)]:
        if time.monotonic() >= until_s:
            break
        time.sleep(POLL_S)
    return left


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(process: psutil.Process, send: Callable[[psutil.Process], None]) -> None:
    try:
        send(process)
    except psutil.Error:
        return
