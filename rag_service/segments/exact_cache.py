"""Answers that were given before, by exactly the question they answered.

Bounded three ways, because each bound alone can be outgrown: entries (small answers), bytes (long ones), age
(a corpus that is changed behind an unchanged stamp). A hit makes an entry the last to be evicted but does not
make it younger: a popular answer that is never made anew would otherwise live for ever.
"""

from __future__ import annotations

import re
import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from rag_service.resilience.deadline import Clock

#: What an entry costs beside its text: the key, the objects, a row of the semantic index (384 × 4 bytes).
_OVERHEAD_BYTES = 2560
_CLOSING_MARK = re.compile(r"(?<=\w)[?!.]\Z")


@dataclass(frozen=True, slots=True)
class Key:
    """What an answer depends on: the question, how much is retrieved for it, and from what it is made."""

    question: str
    top_k: int
    stamp: str
    model: str

    @classmethod
    def of(cls, question: str, top_k: int, stamp: str, model: str) -> Key:
        """Spaces and the mark that closes a word change no question.

        Case may: `Timer` and `timer` are two names. A mark after another sign may be what is asked about:
        `$ or .` is not `$ or ?`.
        """
        text = " ".join(unicodedata.normalize("NFC", question).split())
        return cls(_CLOSING_MARK.sub("", text), top_k, stamp, model)

    def differs_only_in_words(self, other: Key) -> bool:
        return (self.top_k, self.stamp, self.model) == (other.top_k, other.stamp, other.model)


@dataclass(frozen=True, slots=True)
class Citation:
    """A document that a kept answer drew on."""

    id: str
    title: str
    score: float


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """A full answer as it can be given again."""

    text: str
    citations: tuple[Citation, ...]

    @property
    def size_bytes(self) -> int:
        named = sum(len(citation.id) + len(citation.title) for citation in self.citations)
        return len(self.text.encode()) + 2 * named + _OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most a cache holds, and for how long."""

    max_entries: int
    max_bytes: int
    ttl_s: float


@dataclass(frozen=True, slots=True)
class _Entry:
    answer: KeptAnswer
    expires_at: float
    size_bytes: int


def _ignore(_: Key) -> None:
    """Nobody else holds anything for this key."""


class ExactCache:
    """Least recently used goes first; `on_drop` hears of each key that goes, for whatever reason."""

    def __init__(self, bounds: Bounds, clock: Clock, on_drop: Callable[[Key], None] = _ignore) -> None:
        self._bounds = bounds
        self._clock = clock
        self._on_drop = on_drop
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> KeptAnswer | None:
        """The answer kept for `key`, if it is young enough."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._clock() >= entry.expires_at:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry.answer

    def put(self, key: Key, answer: KeptAnswer) -> bool:
        """Keep `answer`, in place of an older one; False where it alone is more than the cache may hold."""
        if key in self._entries:
            self._drop(key)
        size_bytes = len(key.question.encode()) + answer.size_bytes
        if size_bytes > self._bounds.max_bytes:
            return False
        self._entries[key] = _Entry(answer, self._clock() + self._bounds.ttl_s, size_bytes)
        self.size_bytes += size_bytes
        while len(self._entries) > self._bounds.max_entries or self.size_bytes > self._bounds.max_bytes:
            self._drop(next(iter(self._entries)))
        return True

    def clear(self) -> None:
        for key in list(self._entries):
            self._drop(key)

    def _drop(self, key: Key) -> None:
        self.size_bytes -= self._entries.pop(key).size_bytes
        self._on_drop(key)
