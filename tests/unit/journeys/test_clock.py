"""The run's clock: Unix time that only goes forward."""

import time

import pytest

from journeys.clock import SteadyClock, sleep_until


class Hand:
    """A clock that moves only when slept on, and then not quite far enough."""

    def __init__(self, share: float) -> None:
        self.at_s = 100.0
        self.share = share
        self.slept: list[float] = []

    def now_s(self) -> float:
        return self.at_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at_s += max(seconds * self.share, 0.001)


def test_the_clock_tells_unix_time() -> None:
    """It agrees with the wall clock at the time of anchoring."""
    assert SteadyClock.anchored().now_s() == pytest.approx(time.time(), abs=0.5)


def test_a_corrected_wall_clock_does_not_move_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once anchored, a jump of the wall clock is not seen."""
    clock = SteadyClock.anchored()
    before_s = clock.now_s()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 0 <= clock.now_s() - before_s < 60


def test_a_sleep_that_falls_short_is_continued() -> None:
    """Nobody is woken before their time, even by timers that fire early."""
    hand = Hand(share=0.7)
    sleep_until(101.0, hand, hand.sleep)
    assert hand.at_s >= 101.0
    assert len(hand.slept) > 1


def test_a_time_that_has_passed_costs_no_sleep() -> None:
    """Who is late does not wait."""
    hand = Hand(share=1.0)
    sleep_until(99.0, hand, hand.sleep)
    assert hand.slept == []
