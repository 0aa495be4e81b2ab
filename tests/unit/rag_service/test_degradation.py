"""The ladder: what answers what, and that nothing is lost silently."""

from __future__ import annotations

from itertools import combinations

import pytest

from rag_service.degradation import FALLBACKS, LADDER, Loss, Need, Outcome, choose, lose, nothing_found
from rag_service.errors import CircuitOpen


def losses(*needs):
    return [Loss(need, "x", "y", "z") for need in needs]


@pytest.mark.parametrize(
    ("lost", "rung"),
    [
        ((), "full"),
        ((Need.VECTOR,), "lexical"),
        ((Need.LLM,), "extractive"),
        ((Need.VECTOR, Need.LLM), "extractive"),
        ((Need.DOCUMENTS,), "nothing_found"),
        ((Need.VECTOR, Need.DOCUMENTS), "refusal"),
    ],
)
def test_each_loss_has_its_rung(lost, rung):
    """The best rung that needs nothing of what is gone."""
    assert choose(losses(*lost)).name == rung


@pytest.mark.parametrize("size", range(1, 5))
def test_only_an_answer_without_any_loss_is_full(size):
    """Whatever is lost, alone or together, some rung is left, and it is not called full."""
    for lost in combinations(Need, size):
        assert choose(losses(*lost)).outcome is not Outcome.FULL


def test_the_ladder_ends_in_a_refusal_that_needs_nothing():
    """So that `choose` always finds a rung."""
    assert LADDER[-1].needs == frozenset()
    assert LADDER[-1].outcome is Outcome.REFUSED


def test_a_loss_says_segment_reason_and_fallback():
    """These three are what callers read in `degraded`."""
    loss = lose(Need.VECTOR, "retrieve", CircuitOpen("vector_db", retry_after_s=2.0))
    assert (loss.segment, loss.reason, loss.fallback) == ("retrieve", "circuit_open", "lexical")
    assert nothing_found().reason == "no_documents"
    assert set(FALLBACKS) == {Need.VECTOR, Need.DOCUMENTS, Need.LLM}
