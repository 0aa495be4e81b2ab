"""The run second by second."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from slo.timeline import compute


def test_every_series_covers_every_second(healthy, tmp_path: Path):
    """Counts add up to what happened, and empty seconds are empty, not zero."""
    found = compute(healthy.write(tmp_path / "run"))
    assert len(found.at_s) == 110
    assert sum(found.arrivals) == 1100
    assert sum(sum(counts) for counts in found.outcomes.values()) == 1100
    assert all(len(series.p95_s) == 110 for series in found.segments.values())
    search = found.segments["search"]
    assert search.p95_s[36] == pytest.approx(0.3, abs=0.01)
    assert (search.count[40], search.p50_s[40]) == (0, None)


def test_faults_and_breakers_are_stretches_of_the_run(healthy, tmp_path: Path):
    """The lanes tile the run without a gap."""
    found = compute(healthy.write(tmp_path / "run"))
    assert [(one.name, one.start_s, one.end_s) for one in found.faults] == [("slow", 35.0, 65.0)]
    lane = found.breakers["vector_db"]
    assert (lane[0].start_s, lane[-1].end_s, lane[-1].state) == (0.0, 110.0, "closed")
    assert all(one.end_s == other.start_s for one, other in pairwise(lane))


def test_a_restart_is_in_from_the_moment_in_which_the_part_ended(healthy, tmp_path: Path):
    """The journal has it only when the part is back; the answers that were lost were lost before."""
    removed = healthy.event("fault.removed")
    removed["observed"] = {
        "bit": True,
        "ended_at_s": healthy.event("load.started")["t0_s"] + 33.5,
        "away_s": 1.5,
    }
    assert compute(healthy.write(tmp_path / "run")).faults[0].start_s == 33.5


def test_a_fault_that_was_never_removed_lasts_to_the_end(healthy, tmp_path: Path):
    """A killed run is drawn as far as anyone knows."""
    healthy.drop_events("fault.removed", "run.finished", "load.ended")
    assert compute(healthy.write(tmp_path / "run")).faults[0].end_s == 110.0
