"""A rate that changes while a phase lasts, and the moment at which it has let in so many users.

The curve is piecewise linear: (seconds from the phase's start, arrivals per second), two points at one moment
being a jump. Arrivals of an inhomogeneous Poisson process are those of a process of rate 1 sent through the
inverse of the cumulative rate, so one list of random numbers serves any curve, and a schedule that is drawn
twice is the same twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise


class RateCurve:
    """A curve with its cumulative arrivals."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        self._pieces: list[tuple[float, float, float, float, float]] = []
        expected = 0.0
        for (t0, rate0), (t1, rate1) in pairwise(points):
            if t1 > t0:
                self._pieces.append((expected, t0, t1, rate0, rate1))
                expected += (t1 - t0) * (rate0 + rate1) / 2
        self.expected = expected
        """The mean number of arrivals over the whole curve."""

    def times(self, marks: Iterable[float]) -> Iterator[float]:
        """When the cumulative rate reaches each of the ascending `marks`; ends where the curve does."""
        place = 0
        for mark in marks:
            if mark >= self.expected:
                return
            while place + 1 < len(self._pieces) and self._pieces[place + 1][0] <= mark:
                place += 1
            yield self._time_in(place, mark)

    def _time_in(self, place: int, mark: float) -> float:
        """Solves `rate0·x + slope·x²/2 = wanted`, in a form that does not cancel for small slopes."""
        before, t0, t1, rate0, rate1 = self._pieces[place]
        wanted, slope = mark - before, (rate1 - rate0) / (t1 - t0)
        root = math.sqrt(max(0.0, rate0 * rate0 + 2 * slope * wanted))
        return t0 if wanted <= 0 else min(t1, t0 + 2 * wanted / (rate0 + root))
