"""Answers made of the context's own sentences: those that share the rarest words with the question.

A simulator that invents text would make groundedness meaningless. This one can only repeat what retrieval
found, with a marker for where: when retrieval loses the right document, the answer visibly gets worse.
Answers have about 30 to 60 words, a common length for a short RAG answer.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass

from rag_service.model_server.prompt import Prompt

NO_ANSWER = "The given context does not answer this question."

_ENOUGH_WORDS = 30
_MAX_WORDS = 60
_MIN_SENTENCE_WORDS = 3
_TITLE_WEIGHT = 0.5
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n\s*\n|\n(?=\s*[-*+] )")
_WORD = re.compile(r"[a-z0-9]+")
_COMMON_WORDS = """
a an and are as at be but by can do does for from get has have how i if in into is it its me my no not of on
or so some than that the their them then there these they this to use using want was we what when where which
while who why will with you your python
"""
_COMMON = frozenset(_COMMON_WORDS.split())


@dataclass(frozen=True, slots=True)
class _Sentence:
    number: int
    order: int
    words: tuple[str, ...]
    terms: frozenset[str]
    title_terms: frozenset[str]


def answer(prompt: Prompt) -> str:
    """The answer to a prompt, in reading order, each sentence with its source's marker such as `[1]`."""
    sentences = _sentences(prompt)
    asked = terms(prompt.question)
    scores = _scores(sentences, asked)
    best = sorted(
        (item for item in sentences if scores[item.order] > 0), key=lambda s: (-scores[s.order], s.order)
    )
    chosen: list[_Sentence] = []
    length = 0
    for sentence in best:
        if length >= _ENOUGH_WORDS:
            break
        chosen.append(sentence)
        length += len(sentence.words)
    if not chosen:
        return NO_ANSWER
    return _written(sorted(chosen, key=lambda sentence: sentence.order))


def terms(text: str) -> frozenset[str]:
    """The words of a text that carry meaning, in lower case and without a plural's s."""
    found = _WORD.findall(text.lower())
    return frozenset(_stem(word) for word in found if word not in _COMMON and len(word) > 1)


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _sentences(prompt: Prompt) -> list[_Sentence]:
    found: list[_Sentence] = []
    for passage in prompt.passages:
        title_terms = terms(passage.title)
        for text in _SENTENCE.split(passage.text):
            words = tuple(text.split())
            if len(words) >= _MIN_SENTENCE_WORDS:
                found.append(_Sentence(passage.number, len(found), words, terms(text), title_terms))
    return found


def _scores(sentences: list[_Sentence], asked: frozenset[str]) -> list[float]:
    """How much each sentence shares with the question; a word counts more the fewer sentences have it."""
    seen_in = Counter(term for sentence in sentences for term in sentence.terms & asked)
    weight = {term: math.log(1 + len(sentences) / count) for term, count in seen_in.items()}
    return [
        math.fsum(weight[term] for term in sorted(sentence.terms & asked))
        + _TITLE_WEIGHT * len(sentence.title_terms & asked)
        for sentence in sentences
    ]


def _written(chosen: list[_Sentence]) -> str:
    parts: list[str] = []
    left = _MAX_WORDS
    for sentence in chosen:
        words = sentence.words[: max(left, 0)]
        if words:
            parts.append(f"{' '.join(words)} [{sentence.number}]")
            left -= len(words)
    return " ".join(parts)
