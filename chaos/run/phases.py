"""Follows the phases of a run on its clock: switches their faults, and watches all that must go on meanwhile.

Five times a second, because a schedule of faults moves by the second. The stop conditions have a thread of
their own (`chaos.run.stop_watch`), which ends a wait for a fault when one of them holds.
"""

from __future__ import annotations

from dataclasses import dataclass

from chaos.clock import Clock
from chaos.control.fault_control import FaultControl
from chaos.experiment import LoadedExperiment, PlannedPhase
from chaos.run.barriers import Barriers
from chaos.run.journal import Journal
from chaos.run.live import LiveAttempts
from chaos.run.load import JourneysProcess
from chaos.run.progress import Moment, Progress
from chaos.run.stop_watch import CUT_SHORT, StopWatch
from chaos.safety.interruption import Interrupted
from chaos.safety.lease import RunLease
from chaos.safety.warden import Warden
from chaos.stack.opening import Stack

TICK_S = 0.2
BREAKERS_EVERY_S = 1.0
FIGURES_WINDOW_S = 5.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended: `completed`, `stopped`, `interrupted` or `error`, and why."""

    status: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Watched:
    """Everything that a phase needs; without any of it the run is over."""

    stack: Stack
    journeys: JourneysProcess
    faults: FaultControl
    lease: RunLease
    warden: Warden
    stop: StopWatch

    def require(self) -> None:
        """Raises EnvironmentFailure for what is missing, the cause before its consequences."""
        self.lease.require()
        self.warden.require_alive()
        self.stop.require()
        self.journeys.check_alive()
        self.stack.require_alive()


class Phases:
    """The phases of one run, once its load has begun."""

    def __init__(
        self,
        loaded: LoadedExperiment,
        watched: Watched,
        live: LiveAttempts,
        barriers: Barriers,
        journal: Journal,
        progress: Progress,
        clock: Clock,
    ) -> None:
        self._phases = loaded.phases
        self._watched = watched
        self._live = live
        self._barriers = barriers
        self._journal = journal
        self._progress = progress
        self._clock = clock
        self._breakers: dict[str, str] = {}
        self._breakers_at_s = 0.0

    def follow(self, t0_s: float) -> Ending:
        """Phase after phase to the end of the last one, or until a stop condition holds."""
        stop = self._watched.stop
        try:
            for before, phase in zip((None, *self._phases), self._phases, strict=False):
                sleep_until(t0_s + phase.start_s, self._clock)
                self._journal.append("phase.started", phase=phase.name)
                with stop.cutting_short():
                    self._watched.faults.switch_to(phase.faults)
                if before is not None:
                    self._barriers.begin(before.name)
                self._stay(phase, t0_s)
                self._journal.append("phase.ended", phase=phase.name)
                if stop.triggered is not None:
                    break
        except Interrupted as reason:
            if stop.triggered is None or str(reason) != CUT_SHORT:
                raise
            self._watched.faults.withdraw()
        return self.ending()

    def ending(self) -> Ending:
        """How it ended; asked again once nobody watches any more, since a condition may hold at the last."""
        held = self._watched.stop.triggered
        if held is None:
            return Ending("completed")
        return Ending("stopped", f"stop condition: {held.condition}: {held.observed}")

    def _stay(self, phase: PlannedPhase, t0_s: float) -> None:
        """Until the phase's end, or until the run is to stop."""
        stop = self._watched.stop
        while (now_s := self._clock.unix_s()) < t0_s + phase.end_s and stop.triggered is None:
            self._show(phase, now_s - t0_s)
            self._watched.require()
            with stop.cutting_short():
                self._watched.faults.tick()
            self._clock.sleep(min(TICK_S, t0_s + phase.end_s - self._clock.unix_s()))

    def _show(self, phase: PlannedPhase, elapsed_s: float) -> None:
        if elapsed_s - self._breakers_at_s >= BREAKERS_EVERY_S:
            self._breakers_at_s = elapsed_s
            self._breakers = self._watched.stack.breaker_states()
        self._progress.moment(
            Moment(
                phase=phase.name,
                elapsed_s=elapsed_s,
                left_s=max(0.0, self._phases[-1].end_s - elapsed_s),
                planned_rate_per_s=phase.rate_at(elapsed_s),
                figures=self._live.figures(self._clock.unix_s(), FIGURES_WINDOW_S),
                faults=self._watched.faults.active,
                breakers=self._breakers,
            )
        )


def sleep_until(unix_s: float, clock: Clock) -> None:
    """Wait in short pieces: a clock that was set is noticed."""
    while (left_s := unix_s - clock.unix_s()) > 0:
        clock.sleep(min(left_s, TICK_S))
