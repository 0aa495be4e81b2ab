"""Whoever looks at the stop conditions: a thread of its own, four times a second, whatever else stands still.

The phase loop may wait for a part to start again, the generator may be dead; the users do not care. So this
thread reads the attempts' files and the spans as they arrive by itself, writes `stop.triggered` by itself and
ends the load by itself. The faults are taken out by the run, which sees `triggered` at its next step; where
it waits for a fault to go in or out (a part that starts again), the wait is cut short as Ctrl-C would.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from chaos.clock import Clock
from chaos.errors import EnvironmentFailure
from chaos.experiment import StopCondition
from chaos.run.journal import Journal
from chaos.run.live import DEGRADED, DROPPED, Ended, LiveAttempts
from chaos.run.stop_conditions import Breach, ConditionWatch
from chaos.safety.interruption import interrupt
from slo.live import LiveSpan, LiveSpans
from slo.segments import JOURNEY

LOOK_EVERY_S = 0.25
BEYOND_PATIENCE_S = 1.0
"""The generator hangs up when a user's patience is over; what is open for longer than this, hangs."""


@dataclass(frozen=True, slots=True)
class Triggered:
    """The condition that held, and what was seen."""

    condition: str
    observed: str


def span_segments(conditions: Sequence[StopCondition]) -> frozenset[str]:
    """The segments whose spans must be watched while they arrive."""
    return frozenset(one.segment for one in conditions if one.segment != JOURNEY)


SIGHT_WITHIN_S = 15.0
"""The questions of the steady state have made spans by then; exporters wait for 5 s at most."""
CUT_SHORT = "a stop condition holds"


def require_sight(conditions: Sequence[StopCondition], received: Callable[[], int], clock: Clock) -> None:
    """Wait for the first span of the service, before anything is hurt, where a condition is about spans.

    Raises EnvironmentFailure when none comes: a condition that can see nothing protects nobody.
    """
    segments = span_segments(conditions)
    until_s = clock.monotonic_s() + SIGHT_WITHIN_S
    while segments and not received():
        if clock.monotonic_s() >= until_s:
            raise EnvironmentFailure(
                f"no span has arrived in {SIGHT_WITHIN_S:.0f} s, so the stop conditions on "
                f"{', '.join(sorted(segments))} would see nothing; does the service export to "
                f"OTEL_EXPORTER_OTLP_ENDPOINT? Or take conditions on journey"
            )
        clock.sleep(LOOK_EVERY_S)


class StopWatch(threading.Thread):
    """Watches the stop conditions of one run from the start of its load, as a context manager."""

    def __init__(
        self,
        conditions: Sequence[StopCondition],
        attempts: LiveAttempts,
        spans: LiveSpans,
        journal: Journal,
        stop_load: Callable[[], None],
        clock: Clock,
        *,
        from_s: float,
        patience_s: float,
        interrupt: Callable[[str], None] = interrupt,
    ) -> None:
        super().__init__(name="stop-watch", daemon=True)
        self._attempts = attempts
        self._spans = spans
        self._journal = journal
        self._stop_load = stop_load
        self._clock = clock
        self._from_s = from_s
        self._interrupt = interrupt
        on_journeys = [one for one in conditions if one.segment == JOURNEY]
        self._of_journeys = [JourneyCondition(one, patience_s) for one in on_journeys]
        self._of_spans = [ConditionWatch(one) for one in conditions if one not in on_journeys]
        self._over = threading.Event()
        self._broken: Exception | None = None
        self._cutting = threading.Lock()
        self._may_cut = False
        self.triggered: Triggered | None = None

    def require(self) -> None:
        """Raises EnvironmentFailure when nobody looks any more."""
        if self._broken is not None:
            raise EnvironmentFailure(
                f"the watch over the stop conditions failed ({type(self._broken).__name__}: {self._broken}), "
                f"and without one the run does not go on; run it again"
            ) from self._broken

    @contextmanager
    def cutting_short(self) -> Iterator[None]:
        """What the main thread does here may take long: it gets an Interrupted when a condition holds."""
        with self._cutting:
            self._may_cut = self.triggered is None
        try:
            yield
        finally:
            with self._cutting:
                self._may_cut = False

    def look(self) -> None:
        """Take what came, judge every condition, and act on the first that has held for its time."""
        now_s = self._clock.unix_s()
        for attempt in self._attempts.poll(now_s):
            for condition in self._of_journeys:
                condition.ended(attempt)
        for span in self._spans.drain():
            if span.end_s >= self._from_s:
                self._take(span)
        for condition in self._of_journeys:
            condition.hanging(self._attempts, now_s)
        known_s = self._spans.known_until(now_s)
        looks = [(one.watch, now_s) for one in self._of_journeys] + [(one, known_s) for one in self._of_spans]
        breach = next((found for watch, at_s in looks if (found := watch.look(at_s)) is not None), None)
        if breach is not None:
            self._act(breach)

    def run(self) -> None:
        try:
            while self.triggered is None and not self._over.wait(LOOK_EVERY_S):
                self.look()
        except Exception as error:
            self._broken = error

    def stop(self) -> None:
        """Look no more; afterwards nothing is triggered."""
        self._over.set()
        if self.is_alive():
            self.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _take(self, span: LiveSpan) -> None:
        for watch in self._of_spans:
            if watch.condition.segment != span.segment:
                continue
            match watch.condition.indicator:
                case "error_ratio":
                    watch.take(span.end_s, float(span.failed))
                case "degraded_ratio":
                    watch.take(span.end_s, float(span.degraded))
                case _:
                    watch.take(span.end_s, span.judged_s)

    def _act(self, breach: Breach) -> None:
        condition, observed = breach.condition, breach.sentence()
        self._journal.append(
            "stop.triggered",
            condition=condition.sentence(),
            observed=observed,
            segment=condition.segment,
            indicator=condition.indicator,
            value=breach.value if math.isfinite(breach.value) else "Infinity",
            limit=condition.above,
            samples=breach.samples,
            window_s=round(breach.window_s, 3),
            in_flight=len(self._attempts.in_flight()),
        )
        self._stop_load()
        with self._cutting:
            self.triggered = Triggered(condition.sentence(), observed)
            if self._may_cut:
                self._interrupt(CUT_SHORT)


class JourneyCondition:
    """A condition on what users see. Who is still waiting counts as soon as it is certain for what."""

    def __init__(self, condition: StopCondition, patience_s: float) -> None:
        self.watch = ConditionWatch(condition)
        self._indicator = condition.indicator
        self._hangs_after_s = patience_s + BEYOND_PATIENCE_S
        self._too_late_s = condition.above if condition.indicator in ("p50", "p95", "p99") else math.inf
        self._counted: set[str] = set()

    def ended(self, attempt: Ended) -> None:
        """An attempt that was counted while it was open is not counted again."""
        if attempt.trace_id in self._counted:
            self._counted.discard(attempt.trace_id)
            return
        known_s = min(attempt.at_s, attempt.intended_s + self._too_late_s)
        match self._indicator:
            case "error_ratio":
                self.watch.take(known_s, float(not attempt.answered))
            case "degraded_ratio":
                self.watch.take(known_s, float(attempt.outcome in DEGRADED))
            case "dropped_ratio":
                self.watch.take(known_s, float(attempt.outcome == DROPPED))
            case "ttft_p95":
                if attempt.stream:
                    first_s = attempt.first_token_s if attempt.answered else None
                    self.watch.take(known_s, math.inf if first_s is None else first_s)
            case _:
                self.watch.take(known_s, attempt.judged_s)

    def hanging(self, attempts: LiveAttempts, now_s: float) -> None:
        """Count those who wait for longer than the limit, or than anyone should have waited."""
        if self._indicator in ("degraded_ratio", "dropped_ratio"):
            return
        until_s = min(now_s, attempts.heard_s)
        for one in attempts.in_flight():
            if self._indicator == "ttft_p95" and not one.stream:
                continue
            certain_s = min(one.intended_s + self._too_late_s, one.start_s + self._hangs_after_s)
            if certain_s <= until_s and one.trace_id not in self._counted:
                self._counted.add(one.trace_id)
                value = 1.0 if self._indicator == "error_ratio" else math.inf
                self.watch.take(certain_s, value)
