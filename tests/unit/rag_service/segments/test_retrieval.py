"""Fusion of the two legs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rag_service.segments.documents import Scored
from rag_service.segments.retrieval import fuse


def leg(*ids):
    return tuple(Scored(document_id, 1.0) for document_id in ids)


def test_what_both_legs_found_comes_first():
    """Second on both legs beats first on one."""
    fused = fuse({"vector": leg("a", "b"), "lexical": leg("c", "b")}, 3)
    assert [hit.id for hit in fused] == ["b", "a", "c"]


def test_one_leg_alone_keeps_its_order():
    """Losing a leg degrades the choice, not the order of the rest."""
    assert [hit.id for hit in fuse({"lexical": leg("x", "y", "z")}, 2)] == ["x", "y"]
    assert fuse({"vector": (), "lexical": ()}, 5) == ()


@given(
    st.lists(st.integers(0, 30), unique=True), st.lists(st.integers(0, 30), unique=True), st.integers(1, 20)
)
def test_fusion_invents_and_repeats_nothing(first, second, top_k):
    """Every result is from a leg, once, best first, at most k."""
    legs = {"vector": leg(*map(str, first)), "lexical": leg(*map(str, second))}
    fused = fuse(legs, top_k)
    ids = [hit.id for hit in fused]
    assert len(ids) == len(set(ids)) == min(top_k, len(set(first) | set(second)))
    assert set(ids) <= {str(n) for n in first + second}
    assert [hit.score for hit in fused] == sorted((hit.score for hit in fused), reverse=True)


def test_the_better_leg_decides_between_two_first_places():
    """The vector leg finds more (docs/explanation/retrieval.md), so its weight is the larger."""
    assert [hit.id for hit in fuse({"lexical": leg("l"), "vector": leg("v")}, 2)] == ["v", "l"]


def test_a_first_place_beats_two_late_ones():
    """What both legs rank thirtieth is not better than what one is sure of."""
    one, other = ([f"{name}{n}" for n in range(28)] for name in ("one", "other"))
    fused = fuse({"vector": leg("sure", *one, "weak"), "lexical": leg("also", *other, "weak")}, 30)
    ids = [hit.id for hit in fused]
    assert ids.index("sure") < ids.index("weak")
