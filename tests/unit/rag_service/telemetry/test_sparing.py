"""A log that callers cannot fill."""

from __future__ import annotations

import logging

from rag_service.telemetry.sparing import Sparing


def record(message, *args):
    return logging.LogRecord("uvicorn.error", logging.WARNING, "", 0, message, args, None)


def test_the_same_line_is_said_so_often_and_then_counted(clock):
    """Five at once, then silence, then one that says how many there were."""
    sparing = Sparing(most=5, every_s=10.0, clock=clock)
    passed = [sparing.filter(record("Invalid request %d", n)) for n in range(1000)]
    assert passed.count(True) == 5
    clock.advance(10.0)
    after = record("Invalid request %d", 1000)
    assert sparing.filter(after)
    assert after.getMessage() == "Invalid request 1000 (and 995 more like it)"


def test_another_line_is_not_held_back(clock):
    """Each template has its own count."""
    sparing = Sparing(most=1, every_s=10.0, clock=clock)
    assert sparing.filter(record("one"))
    assert not sparing.filter(record("one"))
    assert sparing.filter(record("two"))


def test_it_does_not_grow_itself(clock):
    """A million different lines are forgotten again."""
    sparing = Sparing(clock=clock)
    for n in range(3000):
        sparing.filter(record(f"line {n}"))
    assert len(sparing._lines) <= 1000
