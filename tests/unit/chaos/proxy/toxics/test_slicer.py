from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.proxy.toxics.slicer import Slicer, slice_sizes

sizes_allowed = st.integers(1, 5000).flatmap(
    lambda average: st.tuples(st.just(average), st.integers(0, average - 1))
)


@given(length=st.integers(1, 100_000), sizes=sizes_allowed, seed=st.integers(0, 1000))
def test_pieces_cover_the_chunk_and_none_is_too_large(length: int, sizes: tuple[int, int], seed: int) -> None:
    """Pieces sum to the chunk, none is empty, none above average + variation."""
    average, variation = sizes
    pieces = list(slice_sizes(length, average, variation, random.Random(seed)))
    assert sum(pieces) == length
    assert min(pieces) >= 1
    assert max(pieces) <= average + variation


def test_without_variation_a_chunk_is_halved() -> None:
    """The cut is the middle, again and again."""
    assert list(slice_sizes(100, 30, 0, random.Random(1))) == [25, 25, 25, 25]
    assert list(slice_sizes(30, 30, 0, random.Random(1))) == [30]


@pytest.mark.parametrize(("average", "variation"), [(0, 0), (5, 5), (5, 6), (5, -1), (-1, 0)])
def test_sizes_that_would_never_end_are_refused(average: int, variation: int) -> None:
    """What kills Toxiproxy is refused with a reason."""
    why = Slicer.refuse({"average_size": average, "size_variation": variation, "delay": 0})
    assert why is not None
    assert str(average) in why
    assert Slicer.refuse({"average_size": 5, "size_variation": 4, "delay": 0}) is None


def test_each_piece_is_followed_by_its_delay(line: Any) -> None:
    """The first piece goes at once, each next one a delay later, the end behind the last delay."""
    stage = line.add(Slicer, average_size=25, delay=2000)
    line.send(stage, b"x" * 100)
    line.send(stage, b"")
    line.run_for(1)
    assert [at_s for at_s, _ in line.came] == [0.0, 0.002, 0.004, 0.006, 0.008]
    assert [len(data) for _, data in line.came] == [25, 25, 25, 25, 0]


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=300), max_size=10),
    sizes=sizes_allowed,
    leave_after_ms=st.integers(0, 50),
)
def test_bytes_survive_slicing_and_leaving(
    new_line: Any, chunks: list[bytes], sizes: tuple[int, int], leave_after_ms: int
) -> None:
    """Whenever the toxic leaves, everything has gone on, in order."""
    line = new_line()
    stage = line.add(Slicer, average_size=sizes[0], size_variation=sizes[1], delay=700)
    for chunk in chunks:
        line.send(stage, chunk)
    line.run_for(leave_after_ms / 1000)
    stage.leave()
    assert line.data == b"".join(chunks)
