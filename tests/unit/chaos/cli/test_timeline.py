"""Phases drawn to scale: nothing is lost, nothing overlaps, and more traffic is drawn higher."""

from __future__ import annotations

from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from chaos.cli.timeline import BLOCKS, FAULT, FLAPPING, OUTSIDE, fault_row, phase_row
from chaos.faults.over_time import Flap, OverTime

LENGTHS = st.lists(st.floats(0.5, 500), min_size=1, max_size=12)


@given(LENGTHS, st.integers(12, 60))
def test_every_phase_has_a_bar_of_its_own(lengths: list[float], cells: int) -> None:
    """However short it is; and a row is as wide as the axis."""
    ends = list(accumulate(lengths))
    for start_s, end_s in pairwise([0.0, *ends]):
        row = phase_row(start_s, end_s, lambda _t: 1.0, 1.0, ends[-1], cells)
        assert len(row) == cells
        assert set(row) <= {OUTSIDE, BLOCKS[-1]} and BLOCKS[-1] in row
        assert abs(row.count(BLOCKS[-1]) - (end_s - start_s) / ends[-1] * cells) <= 1.0001


def test_the_bar_is_as_high_as_the_rate() -> None:
    """A ramp climbs, the highest rate of the run has the highest bar, and little traffic is still seen."""
    row = phase_row(0, 10, lambda t_s: t_s, 10.0, 10.0, 20)
    assert list(row) == sorted(row) and row[-1] == BLOCKS[-1]
    assert set(phase_row(0, 10, lambda _t: 0.001, 10.0, 10.0, 20)) == {BLOCKS[0]}


def test_a_flapping_fault_is_drawn_as_it_comes_and_goes() -> None:
    """Each time in its place; faster than a cell, in one lighter tone."""
    flap = OverTime(flap=Flap(on_s=2.0, off_s=3.0))
    assert fault_row([(5, 15)], flap, 20.0, 20) == OUTSIDE * 5 + f"{FAULT * 2}{OUTSIDE * 3}" * 2 + OUTSIDE * 5
    fast = OverTime(flap=Flap(on_s=0.5, off_s=0.5))
    assert fault_row([(4, 14)], fast, 20.0, 10).count(FLAPPING) == 5
    assert fault_row([(5, 15)], None, 20.0, 20) == OUTSIDE * 5 + FAULT * 10 + OUTSIDE * 5
