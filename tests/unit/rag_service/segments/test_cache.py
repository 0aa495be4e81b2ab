"""Both caches as one: what they give again, and what they must never."""

from __future__ import annotations

import numpy as np
import pytest

from rag_service.segments.cache import AnswerCache, Bounds, KeptAnswer, Key

NEAR = np.array([0.95, np.sqrt(1 - 0.95**2)], dtype=np.float32)
EAST = np.array([1.0, 0.0], dtype=np.float32)


def key(question, *, top_k=5, stamp="stamp", model="model"):
    return Key.of(question, top_k, stamp, model)


def kept(text):
    return KeptAnswer(text, ())


@pytest.fixture
def cache(clock):
    made = AnswerCache(Bounds(3, 100_000, 60.0), min_similarity=0.9, clock=clock)
    made.keep(key("How do I enable two-factor authentication?"), EAST, kept("Press the button."))
    return made


def test_the_same_question_is_answered_again(cache):
    """However it is spaced and closed."""
    assert cache.same(key(" How do I enable two-factor  authentication")).text == "Press the button."


def test_a_question_that_asks_the_same_is_answered_by_likeness(cache):
    """0.95 is above 0.9, and no guard objects; exactly the same it is not."""
    asked = key("How can I turn on two-factor authentication?")
    assert cache.same(asked) is None
    assert cache.alike(asked, NEAR).text == "Press the button."


def test_the_opposite_is_not_answered_however_near_it_lies(cache):
    """enable and disable were measured at 0.88, above some paraphrases; here they are one vector."""
    assert cache.alike(key("How do I disable two-factor authentication?"), EAST) is None


def test_below_the_threshold_nothing_is_alike(cache):
    """The guards alone would let it through."""
    far = np.array([0.89, np.sqrt(1 - 0.89**2)], dtype=np.float32)
    assert cache.alike(key("How can I turn on two-factor authentication?"), far) is None


@pytest.mark.parametrize("other", [{"stamp": "new"}, {"model": "other"}, {"top_k": 3}])
def test_another_corpus_model_or_number_of_documents_is_never_served(cache, other):
    """Neither exactly nor by likeness."""
    asked = key("How do I enable two-factor authentication?", **other)
    assert cache.same(asked) is None
    assert cache.alike(asked, EAST) is None


def test_a_new_corpus_empties_the_cache(cache):
    """Its first answer makes room of all that is out of date."""
    cache.keep(key("Why?", stamp="new"), EAST, kept("Because."))
    assert cache.occupancy.entries == 1
    assert cache.same(key("How do I enable two-factor authentication?")) is None


def test_what_was_evicted_or_too_old_is_not_found_by_likeness(cache, clock):
    """The index forgets with the store."""
    asked = key("How can I turn on two-factor authentication?")
    clock.advance(59.9)
    assert cache.alike(asked, NEAR) is not None
    clock.advance(0.2)
    assert cache.alike(asked, NEAR) is None
    for n in range(10):
        cache.keep(key(f"question number {n}"), EAST, kept(str(n)))
    assert cache.occupancy.entries == 3
    assert cache.alike(key("what is question number 2"), EAST) is None
    assert cache.alike(key("what is question number 9"), EAST).text == "9"


def test_an_older_answer_next_to_a_too_old_one_is_still_found(cache, clock):
    """A candidate that has expired is skipped, not the end of the search."""
    clock.advance(30.0)
    cache.keep(key("How do I activate two-factor authentication?"), NEAR, kept("Newer."))
    clock.advance(40.0)
    assert cache.alike(key("How can I turn on two-factor authentication?"), EAST).text == "Newer."
