"""What users are seeing right now, read from the attempts as they are written.

The runner shows it as progress and judges stop conditions by it. It is a view for people and for
giving up early; the verdict never comes from here.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from pathlib import Path

GOOD = ("full", "degraded", "cached")
KEPT_S = 60.0


@dataclass(frozen=True, slots=True)
class Figures:
    """The attempts that ended within a window."""

    ended: int
    rate_per_s: float
    error_ratio: float
    degraded_ratio: float
    p95_s: float | None


@dataclass(frozen=True, slots=True)
class _Ended:
    at_s: float
    outcome: str
    latency_s: float | None


class LiveAttempts:
    """Follows `attempts.jsonl` while it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._ended: deque[_Ended] = deque()
        self.total = 0
        self.dropped = 0

    def poll(self, now_s: float) -> None:
        """Read the whole lines that were added since the last call."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._offset)
                added = file.read()
            whole = added[: added.rfind(b"\n") + 1]
            self._offset += len(whole)
            for line in whole.splitlines():
                self._take(line, now_s)
        while self._ended and self._ended[0].at_s < now_s - KEPT_S:
            self._ended.popleft()

    def figures(self, now_s: float, window_s: float) -> Figures:
        """The last `window_s` seconds."""
        recent = [one for one in self._ended if one.at_s > now_s - window_s]
        bad = sum(one.outcome not in GOOD for one in recent)
        degraded = sum(one.outcome == "degraded" for one in recent)
        latencies = sorted(one.latency_s for one in recent if one.latency_s is not None)
        count = len(recent)
        return Figures(
            ended=count,
            rate_per_s=count / window_s,
            error_ratio=bad / count if count else 0.0,
            degraded_ratio=degraded / count if count else 0.0,
            p95_s=latencies[min(len(latencies) - 1, int(0.95 * len(latencies)))] if latencies else None,
        )

    def _take(self, line: bytes, now_s: float) -> None:
        try:
            attempt = json.loads(line)
        except ValueError:
            return
        self.total += 1
        if attempt.get("dropped"):
            self.dropped += 1
            self._ended.append(_Ended(now_s, "dropped", None))
            return
        ended_s = attempt.get("end_s") or now_s
        self._ended.append(_Ended(ended_s, str(attempt.get("outcome")), attempt.get("latency_s")))
