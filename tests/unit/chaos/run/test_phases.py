"""The phases of a run on its clock: faults switched, barriers begun, and left when a condition holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chaos.errors import EnvironmentFailure
from chaos.experiment import PlannedPhase
from chaos.run.journal import Journal, read
from chaos.run.live import LiveAttempts
from chaos.run.phases import Ending, Phases, Watched
from chaos.run.progress import SilentProgress
from chaos.run.stop_watch import CUT_SHORT, Triggered
from chaos.safety.interruption import Interrupted
from tests.clocks import SteppingClock

T0_S = 1000.0


@dataclass
class Stop:
    """A watch that holds when a test says so."""

    triggered: Triggered | None = None
    cutting: bool = False

    def require(self) -> None:
        pass

    @contextmanager
    def cutting_short(self) -> Iterator[None]:
        self.cutting = True
        yield
        self.cutting = False


@dataclass
class Faults:
    """What is switched when; `then` is what else happens at a switch or a tick."""

    clock: SteppingClock
    switched: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)
    then: Callable[[], None] = lambda: None
    withdrawn: int = 0
    active: tuple[str, ...] = ()

    def switch_to(self, wanted: Sequence[str]) -> None:
        self.switched.append((self.clock.now_s - T0_S, tuple(wanted)))
        self.then()

    def tick(self) -> None:
        self.then()

    def withdraw(self) -> None:
        self.withdrawn += 1


@dataclass
class Bench:
    folder: Path
    clock: SteppingClock = field(default_factory=lambda: SteppingClock(T0_S - 1.0))
    stop: Stop = field(default_factory=Stop)
    missing: Callable[[], None] = lambda: None
    barriers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.faults = Faults(self.clock)
        self.journal = Journal(self.folder / "journal.jsonl", self.clock)

    def follow(self) -> Ending:
        return self.phases().follow(T0_S)

    def phases(self) -> Phases:
        alive = SimpleNamespace(
            require=self.missing, require_alive=lambda: None, check_alive=lambda: None, breaker_states=dict
        )
        one = cast(Any, alive)
        watched = Watched(one, one, cast(Any, self.faults), one, one, cast(Any, self.stop))
        phases = [
            PlannedPhase("baseline", 0.0, 3.0, 1.0, (), True),
            PlannedPhase("fault", 3.0, 6.0, 1.0, ("slow",), True),
            PlannedPhase("recovery", 6.0, 9.0, 1.0, (), True),
        ]
        return Phases(
            cast(Any, SimpleNamespace(phases=phases)),
            watched,
            LiveAttempts(self.folder / "attempts.jsonl"),
            cast(Any, SimpleNamespace(begin=self.barriers.append)),
            self.journal,
            SilentProgress(),
            self.clock,
        )

    def told(self) -> list[tuple[str, str]]:
        return [(one["event"], one["phase"]) for one in read(self.journal.path)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_each_phase_begins_on_time_and_its_barrier_after_the_next_ones_faults(bench: Bench) -> None:
    """What a fault held is let go by then, so its spans can come; the last phase's barrier is the run's."""
    assert bench.follow() == Ending("completed")
    assert bench.faults.switched == [
        (pytest.approx(0.0), ()),
        (pytest.approx(3.0), ("slow",)),
        (pytest.approx(6.0), ()),
    ]
    assert bench.barriers == ["baseline", "fault"]
    assert bench.told()[:3] == [
        ("phase.started", "baseline"),
        ("phase.ended", "baseline"),
        ("phase.started", "fault"),
    ]


def test_a_condition_that_holds_ends_the_run_in_its_phase(bench: Bench) -> None:
    """With what was seen; the faults are left to whoever ends the run, and no further phase begins."""

    def hold() -> None:
        if bench.clock.now_s >= T0_S + 4.0:
            bench.stop.triggered = Triggered("journey p95 above 1 s for 5 s", "3 s")

    bench.faults.then = hold
    ending = bench.follow()
    assert ending == Ending("stopped", "stop condition: journey p95 above 1 s for 5 s: 3 s")
    assert bench.told()[-1] == ("phase.ended", "fault") and bench.clock.now_s < T0_S + 4.5
    assert bench.faults.withdrawn == 0


def test_a_wait_for_a_fault_that_is_cut_short_ends_in_its_withdrawal(bench: Bench) -> None:
    """What went in half-way comes out by its record: nobody waits for a part to come back."""

    def wait() -> None:
        if bench.clock.now_s >= T0_S + 3.0:
            assert bench.stop.cutting
            bench.stop.triggered = Triggered("a", "b")
            raise Interrupted(CUT_SHORT)

    bench.faults.then = wait
    assert bench.follow() == Ending("stopped", "stop condition: a: b")
    assert bench.faults.withdrawn == 1


def test_a_person_is_not_taken_for_a_condition(bench: Bench) -> None:
    """Ctrl-C stays Ctrl-C, also when a condition has just held."""

    def press() -> None:
        bench.stop.triggered = Triggered("a", "b")
        raise Interrupted("SIGINT")

    bench.faults.then = press
    with pytest.raises(Interrupted, match="SIGINT"):
        bench.follow()


def test_what_is_missing_ends_the_run(bench: Bench) -> None:
    """A lease that ended, a part that died: the cause is raised at the next look."""

    def missing() -> None:
        raise EnvironmentFailure("the lease ended")

    bench.missing = missing
    with pytest.raises(EnvironmentFailure, match="the lease ended"):
        bench.follow()


def test_a_condition_that_holds_at_the_very_end_has_stopped_the_run(bench: Bench) -> None:
    """Between the last phase's end and the watch's: the load was told to stop, so it did not complete."""
    phases = bench.phases()
    assert phases.follow(T0_S) == Ending("completed")
    bench.stop.triggered = Triggered("a", "b")
    assert phases.ending() == Ending("stopped", "stop condition: a: b")
