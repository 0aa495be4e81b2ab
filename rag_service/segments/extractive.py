"""An answer without a language model: the sentences of the best passages that share most with the question.

It is worse than a generated answer and says so, but it stands on the same retrieved text, cites it, and
needs nothing that can be down.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rag_service.segments.context import Passage
from rag_service.segments.lexical import Words

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n{2,}")
_WORDS = Words()
_SENTENCES = 3
_MAX_CHARACTERS = 300
_OPENING = "The language model is not available. The closest passages say:"


@dataclass(frozen=True, slots=True)
class _Candidate:
    shared: int
    order: int
    source: int
    text: str


def extract(question: str, passages: tuple[Passage, ...]) -> str:
    """Up to three sentences with their sources' numbers, in reading order."""
    asked = set(_WORDS.of(question))
    candidates: list[_Candidate] = []
    for source, passage in enumerate(passages, start=1):
        for sentence in _SENTENCE.split(passage.text):
            text = " ".join(sentence.split())
            if len(text) > 1:
                shared = len(asked.intersection(_WORDS.of(text)))
                candidates.append(_Candidate(shared, len(candidates), source, text[:_MAX_CHARACTERS]))
    best = sorted(candidates, key=lambda c: (-c.shared, c.order))[:_SENTENCES]
    said = [f"{c.text} [{c.source}]" for c in sorted(best, key=lambda c: c.order)]
    return " ".join([_OPENING, *said])
