"""What the run costs the machine, once a second and per part, and whether the load generator was saturated.

The runner is a part too: it holds the receiver, and a receiver without CPU time would lose the evidence.
A part's figures include its descendants, down to the next part: journeys and stack are children of the
runner, and must not be counted as its own. CPU is the difference of two readings of the processes' own
clocks, so a late sample is still right. Each line goes out in one write, so that a crash costs one line.
Keys of a line: docs/design/0001-the-first-true-path.md, section 5.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from chaos.clock import Clock, SystemClock
from chaos.stack.description import FILE_NAME as STACK_FILE_NAME
from chaos.stack.description import read_description
from chaos.stack.process import ProcessIdentity

PERIOD_S = 1.0
MAX_DEPTH = 64
"""A bound against a parent chain that changes while it is read; real ones are under ten deep."""
FILE_NAME = "resources.jsonl"


@dataclass(frozen=True, slots=True)
class Reading:
    """One line: the figures of one part at one moment. `cpu_ratio` 1.0 is one core, since the last line."""

    at_s: float
    part: str
    cpu_ratio: float | None
    rss_bytes: int
    open_files: int
    connections: int
    threads: int


@dataclass(frozen=True, slots=True)
class _CpuMark:
    at_s: float
    used_s: Mapping[int, float]


class PartGauge:
    """Reads one part after another; remembers the CPU clocks of the last time."""

    def __init__(self) -> None:
        self._last: dict[str, _CpuMark] = {}

    def read(
        self, part: str, members: Iterable[psutil.Process], unix_s: float, monotonic_s: float
    ) -> Reading:
        """The figures of the processes of a part; `cpu_ratio` is null on a part's first reading."""
        used_s: dict[int, float] = {}
        rss = files = connections = threads = 0
        for member in members:
            try:
                with member.oneshot():
                    times = member.cpu_times()
                    used_s[member.pid] = times.user + times.system
                    rss += member.memory_info().rss
                    threads += member.num_threads()
                    files += member.num_fds()
                    connections += len(member.net_connections(kind="tcp"))
            except psutil.Error:
                continue
        cpu_ratio = self._cpu_ratio(part, used_s, monotonic_s)
        return Reading(round(unix_s, 3), part, cpu_ratio, rss, files, connections, threads)

    def _cpu_ratio(self, part: str, used_s: Mapping[int, float], monotonic_s: float) -> float | None:
        before = self._last.get(part)
        self._last[part] = _CpuMark(monotonic_s, used_s)
        if before is None or monotonic_s <= before.at_s:
            return None
        spent_s = sum(max(0.0, used - before.used_s.get(pid, 0.0)) for pid, used in used_s.items())
        return round(spent_s / (monotonic_s - before.at_s), 4)


def members_of(parts: Mapping[str, ProcessIdentity]) -> dict[str, list[psutil.Process]]:
    """The processes of each living part: its own and every descendant that no part is nearer to."""
    part_of = {identity.pid: part for part, identity in parts.items() if identity.alive}
    members: dict[str, list[psutil.Process]] = {part: [] for part in part_of.values()}
    processes = {process.pid: process for process in psutil.process_iter(["ppid"])}
    for process in processes.values():
        ancestor: psutil.Process | None = process
        for _ in range(MAX_DEPTH):
            if ancestor is None or ancestor.pid in part_of:
                break
            ancestor = processes.get(ancestor.info["ppid"] or 0)
        if ancestor is not None and ancestor.pid in part_of:
            members[part_of[ancestor.pid]].append(process)
    return members


class ResourceSampler(threading.Thread):
    """Appends a line for each living part to BUNDLE/resources.jsonl every second, until stopped.

    Which parts there are is read from BUNDLE/stack.json each time, because journeys join a stack that
    runs already.
    """

    def __init__(
        self,
        bundle: Path,
        *,
        period_s: float = PERIOD_S,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(name="resource-sampler", daemon=True)
        self._path = bundle / FILE_NAME
        self._stack_file = bundle / STACK_FILE_NAME
        self._period_s = period_s
        self._clock: Clock = clock or SystemClock()
        self._gauge = PartGauge()
        self._ended = threading.Event()

    def run(self) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            next_s = self._clock.monotonic_s()
            while True:
                self._sample(descriptor)
                next_s = max(next_s + self._period_s, self._clock.monotonic_s())
                if self._ended.wait(next_s - self._clock.monotonic_s()):
                    return
        finally:
            os.close(descriptor)

    def stop(self) -> None:
        """End the thread and wait for it; the file is complete afterwards."""
        self._ended.set()
        if self.is_alive():
            self.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _sample(self, descriptor: int) -> None:
        description = read_description(self._stack_file)
        recorded = description.identities() if description else {}
        parts = {**recorded, "runner": ProcessIdentity.of_this_process()}
        for part, members in members_of(parts).items():
            reading = self._gauge.read(part, members, self._clock.unix_s(), self._clock.monotonic_s())
            os.write(descriptor, (json.dumps(asdict(reading), separators=(",", ":")) + "\n").encode())
