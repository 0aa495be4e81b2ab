"""How many calls may be in flight, learnt from how the calls go, behind one protocol.

A fixed limit is right for one machine and one model; the others find theirs. Both obey the same three rules:
no growth while less than half of the limit is in use (an idle service would otherwise learn that it can
bear anything), one overload is one cut however many calls of the same flight report it, and the bounds
always hold.

AIMD (as TCP has it): one more per round of `limit` good results, ×0.9 when a call is dropped, that is
pushed back or not answered within `timeout_s`. It needs a peer that says no.

Gradient2 (Netflix' concurrency-limits): compares the latency of the last second with its long average, so it
needs no word from the peer: limit × clamp(1.5 × long / short, 0.5, 1) + 4, smoothed by 0.2. Against a server
that serves `c` calls at a time that settles at 1.5 c + 4. It drifts: kept full for ever, the long average
learns the queue as if it were normal (growing e-fold in some 10 minutes), and only `maximum` ends that.
A ratio alone also takes 30 ms after 10 ms for an overload, though the caller's own busy processor made the
difference: latency up to `calm_s` is none, whatever the average says. Netflix' lowest limit of 20 is too many
for one GPU or two cores; here it is 2.

    >>> limiter = Aimd(Bounds(start=10), clock=lambda: 0.0)
    >>> limiter.observe(Sample(latency_s=0.0, in_flight=10, dropped=True))
    >>> limiter.limit
    9
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from rag_service.resilience.deadline import Clock

_CUT_RATIO = 0.9
_CALM_RATIO = 0.1


@dataclass(frozen=True, slots=True)
class Sample:
    """How one call went.

    `latency_s` is that of the first result (a stream's first token), `in_flight` how many calls were out as
    this one began, itself included. `dropped` means that the peer pushed back or did not answer in time.
    """

    latency_s: float
    in_flight: int
    dropped: bool = False


class Limiter(Protocol):
    """What admission and bulkheads need: a limit now, and someone to tell how it goes."""

    @property
    def limit(self) -> int: ...
    def observe(self, sample: Sample) -> None: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a limit begins and where it may never go."""

    start: int = 20
    minimum: int = 2
    maximum: int = 200

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.start <= self.maximum:
            raise ValueError(
                f"a limiter starts at {self.start} between {self.minimum} and {self.maximum}: "
                f"1 <= minimum <= start <= maximum must hold"
            )

    def clamp(self, limit: float) -> float:
        return min(float(self.maximum), max(float(self.minimum), limit))


class Kind(StrEnum):
    """The limiters by the names that settings use."""

    FIXED = "fixed"
    AIMD = "aimd"
    GRADIENT2 = "gradient2"


class Fixed:
    """A limit that learns nothing."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    @property
    def limit(self) -> int:
        return self._limit

    def observe(self, sample: Sample) -> None:
        """Nothing to learn."""


class _Cuts:
    """Makes one cut of one overload: for `pause_s`, and for calls begun before the cut, nothing counts.

    Calls of one flight fail together, and calls that return late report the overload that was answered.
    """

    def __init__(self, pause_s: float, clock: Clock) -> None:
        self._pause_s = pause_s
        self._clock = clock
        self._last: float | None = None

    def stale(self, sample: Sample) -> bool:
        now = self._clock()
        return self._last is not None and (
            now - self._last < self._pause_s or now - sample.latency_s < self._last
        )

    def cut(self, limit: float) -> float:
        self._last = self._clock()
        return limit * _CUT_RATIO


class Aimd:
    """Additive increase, multiplicative decrease."""

    def __init__(
        self, bounds: Bounds, *, clock: Clock, timeout_s: float = 5.0, cut_pause_s: float = 1.0
    ) -> None:
        self._bounds = bounds
        self._timeout_s = timeout_s
        self._cuts = _Cuts(cut_pause_s, clock)
        self._limit = float(bounds.start)

    @property
    def limit(self) -> int:
        return int(self._limit)

    def observe(self, sample: Sample) -> None:
        if self._cuts.stale(sample):
            return
        if sample.dropped or sample.latency_s >= self._timeout_s:
            self._limit = self._bounds.clamp(self._cuts.cut(self._limit))
        elif sample.in_flight >= self._limit / 2.0:
            self._limit = self._bounds.clamp(self._limit + 1.0 / self._limit)


@dataclass(frozen=True, slots=True)
class Gradient2Policy:
    """Netflix' numbers; windows of a second, because one latency alone is mostly noise."""

    smoothing: float = 0.2
    tolerance: float = 1.5
    calm_s: float = 0.0
    queue: int = 4
    long_windows: int = 600
    warm_up_windows: int = 10
    decay: float = 0.95
    window_s: float = 1.0
    window_samples: int = 10
    cut_pause_s: float = 1.0


class Gradient2:
    """Shrinks when latency rises above its long average, whether or not the peer complains."""

    def __init__(self, bounds: Bounds, policy: Gradient2Policy | None = None, *, clock: Clock) -> None:
        self._bounds = bounds
        self._policy = policy or Gradient2Policy()
        self._clock = clock
        self._cuts = _Cuts(self._policy.cut_pause_s, clock)
        self._limit = float(bounds.start)
        self._long_s = 0.0
        self._windows = 0
        self._since = clock()
        self._count = 0
        self._sum_s = 0.0
        self._in_flight = 0

    @property
    def limit(self) -> int:
        return int(self._limit)

    @property
    def long_latency_s(self) -> float:
        """The long average that the last second is compared with; 0 before the first window is full."""
        return self._long_s

    def observe(self, sample: Sample) -> None:
        if self._cuts.stale(sample):
            return
        if sample.dropped:
            self._limit = self._bounds.clamp(self._cuts.cut(self._limit))
            self._open_window()  # what came before the cut must not grow the limit after it
            return
        self._count += 1
        self._sum_s += sample.latency_s
        self._in_flight = max(self._in_flight, sample.in_flight)
        if (
            self._clock() - self._since >= self._policy.window_s
            and self._count >= self._policy.window_samples
        ):
            self._update(self._sum_s / self._count)
            self._open_window()

    def _open_window(self) -> None:
        self._since = self._clock()
        self._count = 0
        self._sum_s = 0.0
        self._in_flight = 0

    def _update(self, short_s: float) -> None:
        if short_s <= 0.0:
            return
        policy = self._policy
        self._learn(short_s)
        if self._in_flight < self._limit / 2.0:
            return
        calm = short_s <= policy.calm_s
        gradient = 1.0 if calm else min(1.0, max(0.5, policy.tolerance * self._long_s / short_s))
        wanted = self._limit * gradient + policy.queue
        self._limit = self._bounds.clamp(self._limit + policy.smoothing * (wanted - self._limit))

    def _learn(self, short_s: float) -> None:
        """A plain mean at first, then exponential; a recovery is learnt faster than a slowdown."""
        policy = self._policy
        self._windows += 1
        if self._windows <= policy.warm_up_windows:
            weight = 1.0 / self._windows
        else:
            weight = 2.0 / (policy.long_windows + 1)
        self._long_s += weight * (short_s - self._long_s)
        if self._long_s > 2.0 * short_s:
            self._long_s *= policy.decay


def make_limiter(kind: Kind, bounds: Bounds, *, clock: Clock, timeout_s: float = 5.0) -> Limiter:
    """The limiter called `kind`; a fixed one stays at the largest limit.

    A first result in a tenth of its time limit `timeout_s` is early enough for anybody, so it is no overload.
    """
    if kind is Kind.AIMD:
        return Aimd(bounds, clock=clock, timeout_s=timeout_s)
    if kind is Kind.GRADIENT2:
        return Gradient2(bounds, Gradient2Policy(calm_s=timeout_s * _CALM_RATIO), clock=clock)
    return Fixed(bounds.maximum)
