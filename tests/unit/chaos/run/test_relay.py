"""A run never waits for whoever watches it, and is never ended by them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from chaos.run import relay
from chaos.run.live import Figures
from chaos.run.moment import Moment
from chaos.run.relay import Relay


class Display:
    """Notes what it is told; unless it `goes_on` it stands still, as a terminal does after Ctrl-S."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.is_broken = False

    def _note(self, what: Any) -> None:
        self.goes_on.wait(60)
        if self.is_broken:
            raise ZeroDivisionError
        self.told.append(what)

    def step(self, text: str) -> None:
        self._note(text)

    def fact(self, entry: Mapping[str, Any]) -> None:
        self._note(entry["event"])

    def moment(self, moment: Moment) -> None:
        self._note(moment.elapsed_s)

    def close(self) -> None:
        self._note("closed")


def moment(elapsed_s: float) -> Moment:
    return Moment("fault", elapsed_s, 0.0, 1.0, Figures(0, 0.0, 0.0, 0.0, None), (), {})


def test_everything_is_handed_on_in_its_order() -> None:
    """And is there once it is closed; a campaign goes on with the next run after that."""
    display = Display()
    watched = Relay(display)
    watched.step("one")
    watched.fact({"event": "phase.started"})
    watched.close()
    assert display.told == ["one", "phase.started", "closed"]
    watched.step("two")
    watched.close()
    assert display.told[3:] == ["two", "closed"]


def test_a_display_that_stands_still_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls return at once, also the last; when it goes on it has missed moments and no fact."""
    monkeypatch.setattr(relay, "CLOSE_WITHIN_S", 0.05)
    display = Display()
    display.goes_on.clear()
    watched = Relay(display)
    for number in range(1000):
        watched.moment(moment(float(number)))
    watched.fact({"event": "fault.injected"})
    watched.close()
    assert display.told == []
    display.goes_on.set()
    monkeypatch.setattr(relay, "CLOSE_WITHIN_S", 60.0)
    watched.close()
    assert [one for one in display.told if isinstance(one, str)] == ["fault.injected", "closed", "closed"]
    assert display.told.count(999.0) == 1 and len(display.told) <= 5


def test_once_the_run_is_over_its_reader_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the verdict comes after all that happened, also to one who reads slowly."""
    monkeypatch.setattr(relay, "CLOSE_WITHIN_S", 0.0)
    display = Display()
    display.goes_on.clear()
    watched = Relay(display)
    watched.step("one")
    watched.close()
    threading.Timer(0.05, display.goes_on.set).start()
    watched.drain()
    assert display.told == ["one", "closed"]


def test_a_broken_display_is_given_up() -> None:
    """A bug in how a run is drawn costs the picture, not the run."""
    display = Display()
    display.is_broken = True
    watched = Relay(display)
    watched.step("one")
    watched.close()
    display.is_broken = False
    watched.step("two")
    watched.close()
    assert display.told == []
