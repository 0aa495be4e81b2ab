"""The event loop's lag is measured and, above 100 ms, warned about once in a while."""

from __future__ import annotations

import asyncio
import logging

from rag_service.telemetry.lag import EVERY_S, LoopLag


def sampled(run, clock, pauses_s):
    """What is observed when the loop is late by each of these pauses."""
    seen = []
    late = iter(pauses_s)

    async def sleep(seconds):
        pause_s = next(late, None)
        if pause_s is None:
            raise asyncio.CancelledError
        clock.advance(seconds + pause_s)

    async def sample():
        try:
            await LoopLag(seen.append, clock=clock, sleep=sleep).run()
        except asyncio.CancelledError:
            return

    run(sample())
    return seen


def test_the_lag_is_what_the_loop_was_late_by(run, clock):
    """Not the time that was slept."""
    assert [round(s, 6) for s in sampled(run, clock, [0.0, 0.02, 0.3])] == [0.0, 0.02, 0.3]
    assert EVERY_S < 0.1


def test_a_long_pause_is_said_once_in_a_while(run, clock, caplog):
    """A loop that is always late must not fill the log as well; the next line says how often it was."""
    with caplog.at_level(logging.WARNING, logger="rag_service.loop"):
        sampled(run, clock, [0.05, 0.3, *([0.2] * 30)])
    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith("the event loop was late by 300 ms")
    assert "more since the last warning" in said[1]
    assert len(said) == 2


def test_a_short_pause_is_not_worth_a_line(run, clock, caplog):
    """The negative control."""
    with caplog.at_level(logging.WARNING, logger="rag_service.loop"):
        assert max(sampled(run, clock, [0.09] * 10)) < 0.1
    assert not caplog.records
