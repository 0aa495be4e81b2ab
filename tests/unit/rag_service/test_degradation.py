"""The ladder: what answers what, and that nothing is lost silently."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_service.degradation import (
    FALLBACKS,
    KEPT,
    LADDER,
    Need,
    Outcome,
    choose,
    labels,
    lose,
    lose_to,
    rung_of,
)
from rag_service.errors import CircuitOpen

LOSABLE = sorted(FALLBACKS)


def losses(*needs):
    return [lose(need, "x", "y") for need in needs]


@pytest.mark.parametrize(
    ("lost", "kept", "rung"),
    [
        ((), (), "full"),
        ((), (Need.SAME_QUESTION,), "full"),
        ((Need.ROOM,), (), "brief"),
        ((Need.VECTOR,), (), "lexical"),
        ((Need.ROOM, Need.VECTOR), (Need.SAME_QUESTION,), "lexical"),
        ((Need.LLM,), (), "extractive"),
        ((Need.LLM,), (Need.SAME_QUESTION, Need.ALIKE_QUESTION), "exact_cache"),
        ((Need.LLM,), (Need.ALIKE_QUESTION,), "semantic_cache"),
        ((Need.VECTOR, Need.LLM), (), "extractive"),
        ((Need.DOCUMENTS,), (), "nothing_found"),
        ((Need.DOCUMENTS,), (Need.SAME_QUESTION,), "exact_cache"),
        ((Need.VECTOR, Need.DOCUMENTS), (), "refusal"),
        ((Need.VECTOR, Need.DOCUMENTS), (Need.SAME_QUESTION,), "exact_cache"),
    ],
)
def test_each_loss_has_its_rung(lost, kept, rung):
    """The best rung that needs nothing of what is gone; kept answers count where they were found."""
    assert choose(losses(*lost), frozenset(kept)).name == rung


@given(st.lists(st.sampled_from(LOSABLE)), st.frozensets(st.sampled_from(sorted(KEPT))))
def test_no_rung_needs_what_is_not_there(lost, kept):
    """Nor is any better rung passed over, and only an answer without a loss is full."""
    rung = choose(losses(*lost), kept)
    missing = set(lost) | (KEPT - kept)
    assert not rung.needs & missing
    for better in LADDER[: LADDER.index(rung)]:
        assert better.needs & missing
    assert (rung.outcome is Outcome.FULL) == (not lost)


@given(st.lists(st.sampled_from(LOSABLE), min_size=1), st.frozensets(st.sampled_from(sorted(KEPT))))
def test_every_loss_is_declared(lost, kept):
    """With segment, reason and a fallback; a kept answer names itself as what stood in."""
    rung = choose(losses(*lost), kept)
    declared = labels(losses(*lost), rung)
    assert [loss.need for loss in declared] == lost
    for loss in declared:
        assert (loss.segment, loss.reason) == ("x", "y")
        assert loss.fallback == (rung.name if rung.outcome is Outcome.CACHED else FALLBACKS[loss.need])


def test_each_fallback_is_a_rung():
    """What `degraded` names can be looked up in the ladder."""
    assert set(FALLBACKS.values()) <= {rung.name for rung in LADDER}


def test_the_ladder_ends_in_a_refusal_that_needs_nothing():
    """So that `choose` always finds a rung."""
    assert LADDER[-1].needs == frozenset()
    assert LADDER[-1].outcome is Outcome.REFUSED


def test_the_order_of_the_ladder():
    """Made anew beats kept, the same question beats a like one, an answer beats a refusal."""
    order = "full brief lexical exact_cache semantic_cache extractive nothing_found refusal"
    assert [rung.name for rung in LADDER] == order.split()
    assert [rung_of(need).name for need in (Need.SAME_QUESTION, Need.ALIKE_QUESTION)] == [
        "exact_cache",
        "semantic_cache",
    ]


def test_a_loss_to_an_error_says_segment_reason_and_fallback():
    """These three are what callers read in `degraded`."""
    loss = lose_to(CircuitOpen("vector_db", retry_after_s=2.0), Need.VECTOR, "retrieve")
    assert (loss.segment, loss.reason, loss.fallback) == ("retrieve", "circuit_open", "lexical")
