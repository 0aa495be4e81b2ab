"""The conductor: arrivals at their times, whatever the users already there are doing."""

from collections.abc import Callable

import gevent
from gevent.event import Event

from journeys.conductor import Conductor
from journeys.exchange import Closed
from journeys.outcome import Ending
from journeys.questions import Question
from journeys.schedule import Arrival


class Stage:
    """A clock that jumps to where a sleeper wants it, letting every other greenlet run on the way."""

    def __init__(self) -> None:
        self.at_s = 1000.0
        self.lived: list[tuple[int, float]] = []
        self.dropped: list[int] = []
        self.endings: list[Ending] = []

    def now_s(self) -> float:
        return self.at_s

    def sleep(self, seconds: float) -> None:
        self.at_s += seconds
        for _ in range(3):  # begin, finish, and be taken off the list of those in flight
            gevent.sleep(0)

    def conductor(self, live: Callable[[Arrival], None], max_in_flight: int = 100) -> Conductor:
        def lived(arrival: Arrival) -> None:
            self.lived.append((arrival.index, self.at_s))
            live(arrival)

        return Conductor(
            live=lived,
            drop=lambda arrival: self.dropped.append(arrival.index),
            max_in_flight=max_in_flight,
            clock=self,
            sleep=self.sleep,
        )

    def linger(self, _arrival: Arrival) -> None:
        """A user whose answer never comes."""
        try:
            Event().wait()
        except Closed as closed:
            self.endings.append(closed.ending)
            raise


def users(count: int, gap_s: float = 1.0) -> list[Arrival]:
    question = (Question("q?", ()),)
    return [Arrival(n, n * gap_s, "spike", "ask", question, str(n)) for n in range(1, count + 1)]


def test_users_who_hang_do_not_delay_those_who_come_after() -> None:
    """Open loop: with every answer missing, each user still arrives at the scheduled time."""
    stage = Stage()
    conductor = stage.conductor(stage.linger)
    conductor.conduct(users(5), t0_s=1000.0)
    stage.sleep(0)
    assert [index for index, _ in stage.lived] == [1, 2, 3, 4, 5]
    assert conductor.in_flight == 5
    assert stage.at_s == 1005.0
    conductor.close(Ending.RUN_STOPPED)


def test_above_the_cap_arrivals_are_dropped_and_named() -> None:
    """One user too many is recorded as dropped, not queued and not forgotten."""
    stage = Stage()
    conductor = stage.conductor(stage.linger, max_in_flight=2)
    conductor.conduct(users(5), t0_s=1000.0)
    assert stage.dropped == [3, 4, 5]
    assert [index for index, _ in stage.lived] == [1, 2]
    conductor.close(Ending.RUN_STOPPED)


def test_a_place_that_becomes_free_is_given_away_again() -> None:
    """The cap counts users who are there now, not users who ever were."""
    stage = Stage()
    stage.conductor(lambda _: None, max_in_flight=1).conduct(users(4), t0_s=1000.0)
    assert stage.dropped == []


def test_a_late_conductor_lets_everybody_in_at_once() -> None:
    """Arrivals whose time has passed start now; none is skipped."""
    stage = Stage()
    conductor = stage.conductor(lambda _: None)
    conductor.conduct(users(3), t0_s=900.0)
    conductor.drain(stage.at_s, 0.0)
    assert [index for index, _ in stage.lived] == [1, 2, 3]
    assert stage.at_s == 1000.0


def test_the_end_closes_those_who_are_still_waiting() -> None:
    """When the time to drain is over, open journeys learn that the run is over, even just-started ones."""
    stage = Stage()
    conductor = stage.conductor(stage.linger)
    conductor.conduct(users(3), t0_s=1000.0)
    conductor.drain(phases_end_s=1010.0, drain_s=0.0)
    assert stage.endings == [Ending.RUN_OVER] * 3
    assert stage.at_s >= 1010.0
    assert conductor.in_flight == 0 and conductor.crashed == 0


def test_the_last_phase_is_waited_for_even_when_nobody_is_there() -> None:
    """A quiet end of the schedule is part of it."""
    stage = Stage()
    conductor = stage.conductor(lambda _: None)
    conductor.conduct(users(1), t0_s=1000.0)
    conductor.drain(phases_end_s=1060.0, drain_s=5.0)
    assert stage.at_s == 1060.0


def test_a_journey_that_crashes_is_counted_and_others_go_on() -> None:
    """An error of the journey's own code is the harness's fault and is told apart from an answer."""
    stage = Stage()

    def stumble(arrival: Arrival) -> None:
        if arrival.index == 2:
            raise ZeroDivisionError

    hub = gevent.get_hub()
    quiet, hub.exception_stream = hub.exception_stream, None
    try:
        conductor = stage.conductor(stumble)
        conductor.conduct(users(3), t0_s=1000.0)
        conductor.drain(1003.0, 1.0)
    finally:
        hub.exception_stream = quiet
    assert len(stage.lived) == 3
    assert conductor.crashed == 1
