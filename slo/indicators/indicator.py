"""What an indicator is: a quantity of one segment in one phase, with an interval and a sample count.

An indicator is one module in this package that subclasses `Indicator`, `Percentile` or `Ratio` and calls
`register`; nothing else has to change. Percentile and Ratio bring the statistics, so that a new indicator
only says which samples it takes.
"""

from __future__ import annotations

import math
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from slo import statistics
from slo.evidence import Evidence
from slo.plan import PlannedPhase
from slo.statistics import Floats, Interval

Unit = Literal["s", "ratio", "per_s"]
EXEMPLARS = 5
MINIMUM_RATIO_SAMPLES = 20
"""Below this even a ratio of 0 or 1 leaves an interval wider than 16 points."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Values with their times and traces. For a ratio a value is 1.0 for a hit and 0.0 for a miss."""

    at_s: Floats
    values: Floats
    trace_ids: npt.NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What was seen: value and interval are None when there was nothing to see."""

    value: float | None
    interval: Interval | None
    samples: int
    needed: int
    exemplars: tuple[str, ...] = ()
    replicates: Floats | None = None
    censored: bool = False

    @property
    def enough(self) -> bool:
        """There are as many samples as the interval needs to exist."""
        return self.samples >= self.needed


class Indicator(ABC):
    """One quantity."""

    name: str
    unit: Unit
    segments: frozenset[str] | None = None
    """The segments that it is defined for; None means all."""

    @abstractmethod
    def estimate(self, evidence: Evidence, segment: str, phase: PlannedPhase) -> Estimate | None:
        """The quantity in one phase; None where the question does not arise."""


class Percentile(Indicator):
    """A percentile of durations; failed requests belong in with an infinite one."""

    unit = "s"

    def __init__(self, name: str, q: float) -> None:
        self.name, self.q = name, q

    @abstractmethod
    def samples(self, evidence: Evidence, segment: str, phase: PlannedPhase) -> Samples:
        """The durations that count."""

    def estimate(self, evidence: Evidence, segment: str, phase: PlannedPhase) -> Estimate:
        """The exact percentile with its bootstrap interval."""
        found = self.samples(evidence, segment, phase)
        needed, n = statistics.minimum_samples(self.q), len(found.values)
        if n == 0:
            return Estimate(None, None, 0, needed)
        value = statistics.percentile(found.values, self.q)
        seed = seed_of(segment, self.name, phase.name)
        spread = statistics.bootstrap_percentile(
            found.at_s, found.values, self.q, phase.start_s, phase.span_s, seed
        )
        worst = np.argsort(-found.values, kind="stable")[:EXEMPLARS]
        return Estimate(value, spread.interval, n, needed, _traces(found, worst), spread.replicates)


class Ratio(Indicator):
    """The share of hits; `bad` is the value whose traces are worth showing."""

    unit = "ratio"
    bad = 1.0

    @abstractmethod
    def samples(self, evidence: Evidence, segment: str, phase: PlannedPhase) -> Samples:
        """Ones and zeros."""

    def estimate(self, evidence: Evidence, segment: str, phase: PlannedPhase) -> Estimate:
        """The share with Wilson's interval, widened by the bootstrap's where hits come in bursts."""
        found = self.samples(evidence, segment, phase)
        n = len(found.values)
        if n == 0:
            return Estimate(None, None, 0, MINIMUM_RATIO_SAMPLES)
        hits = int(found.values.sum())
        plain = statistics.wilson(hits, n)
        seed = seed_of(segment, self.name, phase.name)
        spread = statistics.bootstrap_mean(found.at_s, found.values, phase.start_s, phase.span_s, seed)
        interval = plain
        if math.isfinite(spread.interval.low):
            interval = Interval(min(plain.low, spread.interval.low), max(plain.high, spread.interval.high))
        shown = np.flatnonzero(found.values == self.bad)[:EXEMPLARS]
        return Estimate(hits / n, interval, n, MINIMUM_RATIO_SAMPLES, _traces(found, shown))


_registry: dict[str, Indicator] = {}


def register(indicator: Indicator) -> None:
    """Make an indicator known by its name."""
    if indicator.name in _registry:
        raise ValueError(f"an indicator called {indicator.name!r} exists already; choose another name")
    _registry[indicator.name] = indicator


def registered() -> dict[str, Indicator]:
    """All indicators by name."""
    return dict(sorted(_registry.items()))


def seed_of(*names: str) -> int:
    """The same names give the same random numbers, on every machine."""
    return zlib.crc32("/".join(names).encode())


def _traces(samples: Samples, indices: npt.NDArray[np.intp]) -> tuple[str, ...]:
    return tuple(str(trace) for trace in samples.trace_ids[indices] if trace)
