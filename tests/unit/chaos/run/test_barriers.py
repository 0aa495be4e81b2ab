"""Barriers at the phases' ends: told, never waited for, never after the journal is closed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.run.barriers import Barriers
from chaos.run.journal import Journal, read
from chaos.stack.barrier import Flushed
from chaos.stack.errors import StackError


class Service:
    """It hands over its spans when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.let = threading.Event()
        self.fails = False
        self.lost: int | None = 0

    def flush(self) -> Flushed:
        self.asked += 1
        assert self.let.wait(30)
        if self.fails:
            raise StackError("it did not flush")
        return Flushed(7 * self.asked, self.lost)


@pytest.fixture
def service() -> Iterator[Service]:
    one = Service()
    yield one
    one.let.set()


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


def finish(barriers: Barriers, service: Service) -> None:
    service.let.set()
    barriers.finish()


def test_a_phase_does_not_wait_for_its_barrier(service: Service, journal: Journal) -> None:
    """It is asked for and told when it is there; the last one is waited for and belongs to no phase."""
    barriers = Barriers(service.flush, lambda: 12, journal)
    barriers.begin("baseline")
    assert read(journal.path) == []
    finish(barriers, service)
    told = [(one["event"], one.get("phase"), one["last_seq"], one["spans"]) for one in read(journal.path)]

    assert told == [("barrier.passed", "baseline", 7, 12), ("barrier.passed", None, 14, 12)]


def test_barriers_never_pile_up(service: Service, journal: Journal) -> None:
    """While one is under way the next one fails, and the service is asked once."""
    barriers = Barriers(service.flush, lambda: 0, journal)
    for phase in ("baseline", "fault", "recovery"):
        barriers.begin(phase)
    assert service.asked <= 1
    finish(barriers, service)
    told = [(one["event"], one.get("phase")) for one in read(journal.path)]

    assert sorted(told[:3]) == [
        ("barrier.failed", "fault"),
        ("barrier.failed", "recovery"),
        ("barrier.passed", "baseline"),
    ]


def test_a_service_that_does_not_flush_is_told(service: Service, journal: Journal) -> None:
    """With the reason; the run goes on, and the evidence gate finds what is missing."""
    service.fails = True
    finish(Barriers(service.flush, lambda: 0, journal), service)
    [told] = read(journal.path)
    assert (told["event"], told["reason"]) == ("barrier.failed", "it did not flush")


def test_after_the_end_nothing_is_told(service: Service, journal: Journal) -> None:
    """A run that was interrupted closes its journal, whatever is still under way."""
    barriers = Barriers(service.flush, lambda: 0, journal)
    barriers.begin("baseline")
    barriers.close()
    journal.close()
    service.let.set()
    assert barriers._under_way is not None
    barriers._under_way.join(30)
    assert read(journal.path) == [] and not barriers._under_way.is_alive()


def test_what_the_service_lost_is_told(service: Service, journal: Journal) -> None:
    """Spans that fell off its queue leave no gap in the numbers, so it says itself how many."""
    service.lost = 5
    barriers = Barriers(service.flush, lambda: 0, journal)
    finish(barriers, service)
    assert (read(journal.path)[0]["lost"], barriers.lost) == (5, 5)
    assert Flushed.of({"last_seq": 3}) == Flushed(3, None)
    counts = {"ended": 9, "exported": 4, "failed": 3, "dropped": 2}
    assert Flushed.of({"last_seq": 3, "spans": counts}) == Flushed(3, 5)
