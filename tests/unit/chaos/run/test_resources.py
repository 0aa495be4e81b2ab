"""The rules of the resource figures."""

from __future__ import annotations

import psutil

from chaos.run.resources import PartGauge, members_of
from chaos.stack.process import ProcessIdentity


def test_the_first_reading_has_no_cpu_figure_and_later_ones_have() -> None:
    """CPU is a difference, so one reading alone says nothing about it."""
    gauge = PartGauge()
    me = psutil.Process()
    assert gauge.read("runner", [me], 100.0, 1.0).cpu_ratio is None
    second = gauge.read("runner", [me], 101.0, 2.0)
    assert second.cpu_ratio is not None and second.cpu_ratio >= 0.0
    assert second.rss_bytes > 1_000_000 and second.threads >= 1 and second.open_files >= 1


def test_a_process_belongs_to_the_nearest_part_above_it() -> None:
    """This process counts for its own part, not for the part of its parent."""
    me, parent = psutil.Process(), psutil.Process().parent()
    assert parent is not None
    members = members_of({"parent": ProcessIdentity.of(parent.pid), "runner": ProcessIdentity.of(me.pid)})
    assert me.pid in {process.pid for process in members["runner"]}
    assert me.pid not in {process.pid for process in members["parent"]}
    assert parent.pid in {process.pid for process in members["parent"]}


def test_a_part_that_has_ended_has_no_line() -> None:
    """A dead part disappears from the figures instead of standing at zero."""
    me = ProcessIdentity.of_this_process()
    assert members_of({"service": ProcessIdentity(me.pid, me.created_s - 60)}) == {}
