"""What users are seeing right now, read from the attempts as they begin and end.

The runner shows it as progress and gives up early by it. It is no evidence: the verdict never comes from
here. An attempt that hangs has no line among those that ended, so those that began are read as well. They are
believed as far as the generator was last heard of: one that was killed or suspended hangs itself, and says
nothing about the service.
"""

from __future__ import annotations

import json
import math
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GOOD = ("full", "degraded", "cached")
DEGRADED = ("degraded", "cached")
DROPPED = "dropped"
KEPT_S = 10.0
MOST_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class Figures:
    """The attempts that ended within a window, the rate at which arrivals came, and who is still waiting."""

    ended: int
    rate_per_s: float
    error_ratio: float
    degraded_ratio: float
    p95_s: float | None
    begun_per_s: float = 0.0
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Open:
    """An attempt that has begun and not ended; Unix time."""

    trace_id: str
    intended_s: float
    start_s: float
    stream: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that has ended, or an arrival that was dropped; durations count from the intended start."""

    trace_id: str | None
    intended_s: float
    at_s: float
    outcome: str
    latency_s: float | None
    first_token_s: float | None
    stream: bool

    @property
    def answered(self) -> bool:
        """The user got a whole answer, be it a declared degraded one."""
        return self.outcome in GOOD

    @property
    def judged_s(self) -> float:
        """The latency that counts: whoever got no answer waited for ever."""
        return self.latency_s if self.answered and self.latency_s is not None else math.inf


class LiveAttempts:
    """Follows the files of a run's attempts while they grow; polled in one thread, asked in any."""

    def __init__(self, attempts: Path, started: Path | None = None) -> None:
        self._attempts = _Growing(attempts)
        self._started = _Growing(started) if started is not None else None
        self._lock = threading.Lock()
        self._ended: deque[Ended] = deque(maxlen=MOST_KEPT)
        self._begun_s: deque[float] = deque(maxlen=MOST_KEPT)
        self._open: dict[str, Open] = {}
        self.heard_s = -math.inf
        self.total = 0
        self.dropped = 0

    def poll(self, now_s: float) -> list[Ended]:
        """Read the whole lines that were added since the last call; those that ended."""
        # In this order: whoever is found to have ended here has begun there.
        ended = [_ended_of(line, now_s) for line in self._attempts.lines()]
        begun = list(self._started.lines()) if self._started is not None else []
        with self._lock:
            for line in begun:
                one = _open_of(line)
                if one is not None:
                    self._open[one.trace_id] = one
                    self._begun_s.append(one.intended_s)
                    self.heard_s = max(self.heard_s, one.start_s)
            for attempt in ended:
                self._open.pop(attempt.trace_id or "", None)
                self._ended.append(attempt)
                self.heard_s = max(self.heard_s, attempt.at_s)
                self.total += 1
                self.dropped += attempt.outcome == DROPPED
            while self._ended and self._ended[0].at_s < now_s - KEPT_S:
                self._ended.popleft()
            while self._begun_s and self._begun_s[0] < now_s - KEPT_S:
                self._begun_s.popleft()
        return ended

    def in_flight(self) -> list[Open]:
        """Who has begun and not ended, in the order in which they began."""
        with self._lock:
            return list(self._open.values())

    def figures(self, now_s: float, window_s: float) -> Figures:
        """The last `window_s` seconds, at most `KEPT_S`."""
        with self._lock:
            recent = [one for one in self._ended if one.at_s > now_s - window_s]
            begun = sum(at_s > now_s - window_s for at_s in self._begun_s)
            in_flight = len(self._open)
        latencies = sorted(one.latency_s for one in recent if one.latency_s is not None)
        count = len(recent)
        return Figures(
            ended=count,
            rate_per_s=count / window_s,
            error_ratio=sum(not one.answered for one in recent) / count if count else 0.0,
            degraded_ratio=sum(one.outcome in DEGRADED for one in recent) / count if count else 0.0,
            p95_s=latencies[min(len(latencies) - 1, int(0.95 * len(latencies)))] if latencies else None,
            begun_per_s=begun / window_s,
            in_flight=in_flight,
        )


class _Growing:
    """A file of JSON lines that somebody else appends to; a line that is half there waits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def lines(self) -> Iterator[Mapping[str, Any]]:
        """The objects on the whole lines since the last time."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                yield found


def _ended_of(line: Mapping[str, Any], now_s: float) -> Ended:
    intended_s = _number(line.get("intended_start_s"))
    first_s = _number(line.get("first_token_s"))
    is_dropped = bool(line.get("dropped"))
    return Ended(
        trace_id=line.get("trace_id"),
        intended_s=now_s if intended_s is None else intended_s,
        at_s=_number(line.get("end_s")) or now_s,
        outcome=DROPPED if is_dropped else str(line.get("outcome")),
        latency_s=None if is_dropped else _number(line.get("latency_s")),
        first_token_s=None if first_s is None or intended_s is None else first_s - intended_s,
        stream=bool(line.get("stream")),
    )


def _open_of(line: Mapping[str, Any]) -> Open | None:
    trace_id, start_s = line.get("trace_id"), _number(line.get("start_s"))
    intended_s = _number(line.get("intended_start_s"))
    if not isinstance(trace_id, str) or start_s is None or intended_s is None:
        return None
    return Open(trace_id, intended_s, start_s, bool(line.get("stream")))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
