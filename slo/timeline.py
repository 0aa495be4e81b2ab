"""A run second by second, for the report's picture.

Latencies here are as they were lived: a request that failed stands at the time it took to fail, because
a picture with infinite points shows nothing; the failures themselves stand in `outcomes`. Judgements
are never made from these series: the evaluator uses exact percentiles over whole phases.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PhaseWindow:
    """A phase on the run's clock (offsets from t0)."""

    name: str
    start_s: float
    end_s: float
    rate_per_s: float
    judged: bool


@dataclass(frozen=True, slots=True)
class FaultWindow:
    """When a fault was in; `end_s` is the end of the run when nothing says that it was removed."""

    name: str
    on: str
    kind: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class SegmentSeries:
    """One segment per bucket, by start time (journey: by intended start); None where nothing happened."""

    count: tuple[int, ...]
    errors: tuple[int, ...]
    p50_s: tuple[float | None, ...]
    p95_s: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class BreakerState:
    """A breaker was in `state` from `start_s` to `end_s`."""

    state: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """All series share the buckets that begin at `at_s` (offsets from t0) and last `bucket_s`."""

    bucket_s: float
    at_s: tuple[float, ...]
    phases: tuple[PhaseWindow, ...]
    faults: tuple[FaultWindow, ...]
    segments: dict[str, SegmentSeries]
    outcomes: dict[str, tuple[int, ...]]
    """Answers per bucket of intended start, per outcome; arrivals that were dropped stand under `dropped`."""
    arrivals: tuple[int, ...]
    """First attempts whose intended start lies in the bucket, the dropped ones included."""
    breakers: dict[str, tuple[BreakerState, ...]]
