"""Stop conditions: when an experiment must give up for the users' sake.

A condition has held for its time when each of the windows that make up this time shows it; windows, not one
average, so that a single bad second never stops a run. They are 1 s to 5 s long. An empty one cannot begin a
breach, but goes along in one: silence is no recovery, and a generator or an exporter that died saves nobody.
With fewer than `min_samples` in all that time nothing is concluded; one shorter than 5 s is then made longer.

Every indicator comes down to counting: a percentile is above its limit when too few samples are within it. So
a window is two counts, of samples and of bad ones, and the longest `for` costs some thousand of them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from chaos.experiment import StopCondition
from slo.statistics import percentile
from slo.units import format_duration, format_ratio

BUCKET_S = 0.25
SHORTEST_S = 1.0
LONGEST_S = 5.0
WINDOWS = 3
"""As many as a time is cut into when it is long enough; a longer one is cut into windows of `LONGEST_S`."""
QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "ttft_p95": 0.95}
MOST_VALUES = 50_000
"""For the figure that is told; the decision counts all."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A condition that has held for its time; `value` is the indicator over all of that time."""

    condition: StopCondition
    value: float
    samples: int
    length_s: float
    window_s: float

    def sentence(self) -> str:
        """What was seen: `62 % of 40 samples within 10 s`, `4.1 s (p95 of 40 samples within 10 s)`."""
        within = f"{self.samples} samples within {format_duration(self.length_s)}"
        if self.condition.unit == "ratio":
            return f"{format_ratio(self.value)} of {within}"
        return f"{format_duration(self.value)} ({self.condition.indicator} of {within})"


@dataclass(slots=True)
class _Count:
    samples: int = 0
    bad: int = 0


class ConditionWatch:
    """One condition and the samples that it is judged by, whoever brings them."""

    def __init__(self, condition: StopCondition) -> None:
        self.condition = condition
        self._quantile = QUANTILES.get(condition.indicator)
        self._counts: dict[int, _Count] = {}
        self._values: deque[tuple[float, float]] = deque(maxlen=MOST_VALUES)
        self._span = math.ceil(max(condition.for_s, SHORTEST_S) / BUCKET_S)
        self._kept = max(self._span, round(LONGEST_S / BUCKET_S))

    def take(self, known_s: float, value: float) -> None:
        """A sample, at the moment from which it was known: a duration, or 1 and 0 for a ratio."""
        bad = value > (self.condition.above if self._quantile is not None else 0.0)
        count = self._counts.setdefault(math.floor(known_s / BUCKET_S), _Count())
        count.samples += 1
        count.bad += bad
        self._values.append((known_s, value))

    def look(self, now_s: float) -> Breach | None:
        """Whether the condition has held for its time, at this moment."""
        end = math.floor(now_s / BUCKET_S)  # the bucket that is being filled is not looked at
        self._forget(end - self._kept)
        for buckets in range(self._span, self._kept + 1, round(SHORTEST_S / BUCKET_S)):
            first = end - buckets
            if self._count(first, end).samples >= self.condition.min_samples:
                windows = _windows(buckets)
                edges = [first + buckets * number // windows for number in range(windows + 1)]
                return self._breach(first, end, windows) if self._all_above(edges) else None
        return None

    def _all_above(self, edges: Sequence[int]) -> bool:
        """The first second shows it and the last one does, and no window between shows anything else."""
        second = round(SHORTEST_S / BUCKET_S)
        if not self._is_above(self._count(edges[0], edges[0] + second)):
            return False
        windows = [(edges[-1] - second, edges[-1]), *pairwise(edges)]
        counts = (self._count(*window) for window in windows)
        return all(not one.samples or self._is_above(one) for one in counts)

    def _is_above(self, count: _Count) -> bool:
        if not count.samples:
            return False
        if self._quantile is None:
            return count.bad > self.condition.above * count.samples
        rank = max(1, math.ceil(self._quantile * count.samples - 1e-9))
        return count.samples - count.bad < rank

    def _breach(self, first: int, end: int, windows: int) -> Breach:
        whole = self._count(first, end)
        if self._quantile is None:
            value = whole.bad / whole.samples
        else:
            from_s, to_s = first * BUCKET_S, end * BUCKET_S
            value = percentile(
                np.array([value for known_s, value in self._values if from_s <= known_s < to_s]),
                self._quantile,
            )
        length_s = (end - first) * BUCKET_S
        return Breach(self.condition, value, whole.samples, length_s, length_s / windows)

    def _count(self, first: int, last: int) -> _Count:
        found = _Count()
        for bucket in range(first, last):
            if (count := self._counts.get(bucket)) is not None:
                found.samples += count.samples
                found.bad += count.bad
        return found

    def _forget(self, before: int) -> None:
        """Buckets come in order but for some that are late, so the oldest stand first or nearly so."""
        while self._counts and (oldest := next(iter(self._counts))) < before:
            del self._counts[oldest]
        while self._values and self._values[0][0] < before * BUCKET_S:
            self._values.popleft()


def _windows(buckets: int) -> int:
    length_s = buckets * BUCKET_S
    return max(math.ceil(length_s / LONGEST_S), min(WINDOWS, math.floor(length_s / SHORTEST_S)))
