"""The exact cache against a model that is too simple to be wrong."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rag_service.segments.exact_cache import Bounds, Citation, ExactCache, KeptAnswer, Key

KEYS = [Key(f"q{n}", 5, "stamp", "model") for n in range(6)]


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def answer(size):
    return KeptAnswer("x" * size, (Citation("id", "title", 0.5),))


class AgainstAList(RuleBasedStateMachine):
    """A list in order of use, searched from end to end, is the specification."""

    @initialize(entries=st.integers(1, 4), room=st.integers(3000, 15_000), ttl_s=st.floats(1.0, 10.0))
    def begin(self, entries, room, ttl_s):
        self.bounds = Bounds(entries, room, ttl_s)
        self.clock = Clock()
        self.dropped = []
        self.cache = ExactCache(self.bounds, self.clock, on_drop=self.dropped.append)
        self.model = []  # (key, answer, expires_at), least recently used first
        self.put_count = 0

    def _size(self, key, kept):
        return len(key.question) + kept.size_bytes

    @rule(key=st.sampled_from(KEYS), size=st.integers(0, 16_000))
    def put(self, key, size):
        kept = answer(size)
        self.model = [entry for entry in self.model if entry[0] != key]
        fits = self._size(key, kept) <= self.bounds.max_bytes
        if fits:
            self.put_count += 1
            self.model.append((key, kept, self.clock.now + self.bounds.ttl_s))
            while (
                len(self.model) > self.bounds.max_entries
                or sum(self._size(k, a) for k, a, _ in self.model) > self.bounds.max_bytes
            ):
                self.model.pop(0)
        assert self.cache.put(key, kept) == fits

    @rule(key=st.sampled_from(KEYS))
    def get(self, key):
        found = next((entry for entry in self.model if entry[0] == key), None)
        if found is None:
            assert self.cache.get(key) is None
            return
        self.model.remove(found)
        if self.clock.now < found[2]:
            self.model.append(found)  # used, but no younger
            assert self.cache.get(key) is found[1]
        else:
            assert self.cache.get(key) is None

    @rule(seconds=st.floats(0.0, 12.0))
    def pass_time(self, seconds):
        self.clock.now += seconds

    @rule()
    def clear(self):
        self.cache.clear()
        self.model = []

    @invariant()
    def it_holds_what_the_model_holds(self):
        if not hasattr(self, "cache"):
            return
        assert len(self.cache) == len(self.model) <= self.bounds.max_entries
        assert self.cache.size_bytes == sum(self._size(k, a) for k, a, _ in self.model)
        assert self.cache.size_bytes <= self.bounds.max_bytes
        assert self.put_count == len(self.cache) + len(self.dropped)  # every drop was told


TestAgainstAList = AgainstAList.TestCase


def test_a_hit_does_not_make_an_answer_younger():
    """Asked for once a minute, a popular answer still ends with its hour."""
    clock = Clock()
    cache = ExactCache(Bounds(10, 10_000, 3600.0), clock)
    cache.put(KEYS[0], answer(1))
    for _ in range(59):
        clock.now += 60.0
        assert cache.get(KEYS[0]) is not None
    clock.now += 60.0
    assert cache.get(KEYS[0]) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("How do I rename a file?", "  How do I  rename\na file ", True),
        ("Rename!", "Rename.", True),
        ("Rename.", "Rename...", False),
        ("What does $ or . mean in a pattern: $ or .", "What does $ or . mean in a pattern: $ or ?", False),
        ("What does a* match?", "What does a*? match?", False),
        ("How do I match *", "How do I match *?", False),
        (unicodedata.normalize("NFD", "Was heißt café?"), "Was heißt café?", True),
        ("What is threading.Timer?", "What is threading.timer?", False),
        ("2 x 3", "2 × 3", False),
        ("What is x**2", "What is x²", False),
    ],
)
def test_spaces_and_the_mark_that_closes_a_word_change_no_question(one, other, same):
    """Case and other signs may: they are kept."""
    assert (Key.of(one, 5, "s", "m") == Key.of(other, 5, "s", "m")) is same


@given(st.integers(1, 20), st.text(max_size=5), st.text(max_size=5))
def test_the_key_holds_all_that_an_answer_depends_on(top_k, stamp, model):
    """Another number of documents, another corpus or another model is another answer."""
    key = Key.of("q", 5, "stamp", "model")
    assert (Key.of("q", top_k, stamp, model) == key) == ((top_k, stamp, model) == (5, "stamp", "model"))
