"""The semantic index against a search by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rag_service.segments.exact_cache import Key
from rag_service.segments.semantic_cache import SemanticIndex

KEYS = [Key(f"q{n}", 5, "stamp", "model") for n in range(40)]
_DIRECTIONS = np.random.default_rng(7).normal(size=(50, 8)).astype(np.float32)
VECTORS = _DIRECTIONS / np.linalg.norm(_DIRECTIONS, axis=1, keepdims=True)


class AgainstADict(RuleBasedStateMachine):
    """Rows move when others go; what is found must not change with that."""

    def __init__(self):
        super().__init__()
        self.index = SemanticIndex()
        self.model = {}

    @rule(key=st.sampled_from(KEYS), vector=st.integers(0, 49))
    def add(self, key, vector):
        self.index.add(key, VECTORS[vector])
        self.model[key] = vector

    @rule(key=st.sampled_from(KEYS))
    def remove(self, key):
        self.index.remove(key)
        self.model.pop(key, None)

    @rule(vector=st.integers(0, 49), least=st.floats(-1.0, 1.0))
    def nearest(self, vector, least):
        found = self.index.nearest(VECTORS[vector], least)
        by_hand = {key: float(VECTORS[own] @ VECTORS[vector]) for key, own in self.model.items()}
        similarities = [one.similarity for one in found]
        assert similarities == sorted(similarities, reverse=True)
        for one in found:
            assert abs(by_hand[one.key] - one.similarity) < 1e-5
        clear = {key for key, similarity in by_hand.items() if abs(similarity - least) > 1e-5}
        assert {one.key for one in found} & clear == {key for key in clear if by_hand[key] >= least}

    @invariant()
    def it_counts(self):
        assert len(self.index) == len(self.model)


TestAgainstADict = AgainstADict.TestCase


def test_an_empty_index_finds_nothing():
    """Before anything was kept."""
    assert SemanticIndex().nearest(VECTORS[0], -1.0) == ()
