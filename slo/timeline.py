"""A run second by second, for the report's picture.

Latencies here are as they were lived: a request that failed stands at the time it took to fail, because
a picture with infinite points shows nothing; the failures themselves stand in `outcomes`. Judgements
are never made from these series: the evaluator uses exact percentiles over whole phases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slo import statistics
from slo.attempts import OUTCOMES
from slo.bundle import Bundle
from slo.evidence import Evidence, SegmentSpans, read_evidence
from slo.objectives import table_of
from slo.transitions import stretches

BUCKET_S = 1.0
DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class PhaseWindow:
    """A phase on the run's clock (offsets from t0)."""

    name: str
    start_s: float
    end_s: float
    rate_per_s: float
    judged: bool
    rate_told: str = ""
    """How the rate changed, where it did."""


@dataclass(frozen=True, slots=True)
class FaultWindow:
    """When a fault was in, once; `end_s` is the end of the run when nothing says that it was removed."""

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


def compute(bundle: Bundle | Path | str, bucket_s: float = BUCKET_S) -> Timeline:
    """The timeline of a bundle, finished or killed. Raises BundleError when the folder is not a bundle."""
    source = Bundle.at(bundle)
    evidence = read_evidence(source, table_of(source))
    end_s = max((phase.end_s for phase in evidence.plan.phases), default=0.0)
    buckets = math.ceil(end_s / bucket_s)
    first = {one.arrival: one.at_s for one in reversed(evidence.attempts.all) if one.arrival is not None}
    return Timeline(
        bucket_s=bucket_s,
        at_s=tuple(index * bucket_s for index in range(buckets)),
        phases=tuple(
            PhaseWindow(one.name, one.start_s, one.end_s, one.rate_per_s, one.judged, one.rate_told)
            for one in evidence.plan.phases
        ),
        faults=tuple(
            FaultWindow(one.name, one.on, one.kind, start_s if turn else one.injected_s, min(until_s, end_s))
            for one in evidence.plan.faults
            if one.injected_s is not None
            for turn, (start_s, until_s) in enumerate(one.turns)
        ),
        segments={name: _series(spans, buckets, bucket_s) for name, spans in evidence.segments.items()},
        outcomes=_outcomes(evidence, buckets, bucket_s),
        arrivals=_count(np.array(list(first.values()), dtype=np.float64), buckets, bucket_s),
        breakers={
            name: tuple(
                BreakerState(one.state, max(0.0, one.start_s), min(end_s, one.end_s))
                for one in stretches(transitions)
                if one.start_s < end_s and one.end_s > 0
            )
            for name, transitions in evidence.transitions.items()
        },
    )


def _series(spans: SegmentSpans, buckets: int, bucket_s: float) -> SegmentSeries:
    edges = np.searchsorted(spans.at_s, np.arange(buckets + 1) * bucket_s)
    middle: list[float | None] = []
    high: list[float | None] = []
    for first, last in pairwise(edges):
        lived = spans.duration_s[first:last]
        lived = lived[np.isfinite(lived)]
        middle.append(statistics.percentile(lived, 0.50) if len(lived) else None)
        high.append(statistics.percentile(lived, 0.95) if len(lived) else None)
    return SegmentSeries(
        count=tuple(int(n) for n in np.diff(edges)),
        errors=_count(spans.at_s[spans.failed], buckets, bucket_s),
        p50_s=tuple(middle),
        p95_s=tuple(high),
    )


def _outcomes(evidence: Evidence, buckets: int, bucket_s: float) -> dict[str, tuple[int, ...]]:
    found: dict[str, list[float]] = {name: [] for name in (*OUTCOMES, DROPPED)}
    for one in evidence.attempts.all:
        found.setdefault(one.outcome, []).append(one.at_s)
    return {
        name: _count(np.array(times, dtype=np.float64), buckets, bucket_s) for name, times in found.items()
    }


def _count(at_s: npt.NDArray[np.float64], buckets: int, bucket_s: float) -> tuple[int, ...]:
    inside = at_s[(at_s >= 0) & (at_s < buckets * bucket_s)]
    counts = np.bincount((inside // bucket_s).astype(np.int64), minlength=buckets)
    return tuple(int(n) for n in counts[:buckets])
