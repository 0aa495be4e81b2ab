"""`python -m bench.retrieval_choices`: how the numbers in the lexical leg and in the fusion were chosen.

Two tables over the golden questions. The first adds one choice after the other to what a plain BM25 with
plain rank fusion finds, so that each shows what it is worth. The second guards against choosing what only
fits these questions: 200 times, the best of all choices on a random half is scored on the other half.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.recall import INDEX, QUESTIONS, Golden, K, load_golden

_HALVINGS = 200
_SEED = 1
_MAX_DEPTH = 60

Found = NDArray[np.bool_]
Ranking = list[int]


@dataclass(frozen=True, slots=True)
class Words:
    """How texts become words, and which of them count more often."""

    stem: bool = True
    parts: bool = True
    name_weight: int = 3
    first_sentence: int = 1


@dataclass(frozen=True, slots=True)
class Choice:
    """Everything that is chosen by measurement."""

    words: Words = Words()
    k1: float = 0.9
    b: float = 0.4
    rrf_k: int = 10
    lexical_weight: float = 0.7
    depth: int = 30


PLAIN = Choice(Words(stem=False, parts=False, name_weight=1, first_sentence=0), 1.5, 0.75, 60, 1.0, 15)
STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("stems", {"words": replace(PLAIN.words, stem=True)}),
    ("identifiers also in parts", {"words": Words(name_weight=1, first_sentence=0)}),
    ("name and first sentence weigh more", {"words": Words()}),
    ("k1=0.9, b=0.4 instead of 1.5, 0.75", {"k1": 0.9, "b": 0.4}),
    ("30 documents a leg instead of 15", {"depth": 30}),
    ("1/(10 + rank) instead of 1/(60 + rank)", {"rrf_k": 10}),
    ("lexical leg weighs 0.7", {"lexical_weight": 0.7}),
)


class Bench:
    """Questions, documents and the vector leg's rankings; lexical rankings are made once for each choice."""

    def __init__(self) -> None:
        import faiss

        from rag_service.corpus import load_documents
        from rag_service.corpus.index import VECTORS_FILE
        from rag_service.ingest import load_sentence_transformer

        self.golden: tuple[Golden, ...] = load_golden(QUESTIONS)
        self._documents = load_documents(INDEX).documents
        at = {document.id: position for position, document in enumerate(self._documents)}
        self._relevant = [{at[one] for one in item.relevant if one in at} for item in self.golden]
        vectors = load_sentence_transformer()([item.question for item in self.golden])
        positions = faiss.read_index(str(INDEX / VECTORS_FILE)).search(vectors, _MAX_DEPTH)[1]
        self.vector: list[Ranking] = [row.tolist() for row in positions]
        self._lexical: dict[tuple[Words, float, float], list[Ranking]] = {}

    def lexical(self, choice: Choice) -> list[Ranking]:
        import bm25s

        key = (choice.words, choice.k1, choice.b)
        if key not in self._lexical:
            index = bm25s.BM25(k1=choice.k1, b=choice.b)
            index.index([_weighted(one, choice.words) for one in self._documents], show_progress=False)
            rankings = []
            for item in self.golden:
                known = [word for word in _cut(item.question, choice.words) if word in index.vocab_dict]
                scores = index.get_scores(known) if known else np.zeros(len(self._documents))
                best = np.argsort(-scores, kind="stable")[:_MAX_DEPTH]
                rankings.append([int(one) for one in best if scores[one] > 0.0])
            self._lexical[key] = rankings
        return self._lexical[key]

    def found(self, rankings: Iterable[Ranking]) -> Found:
        pairs = zip(rankings, self._relevant, strict=True)
        return np.array([bool(relevant & set(ranking[:K])) for ranking, relevant in pairs])

    def hybrid(self, choice: Choice) -> Found:
        return self.found(
            _fused(near, worded, choice)
            for near, worded in zip(self.vector, self.lexical(choice), strict=True)
        )


def _cut(text: str, words: Words) -> list[str]:
    from rag_service.segments import lexical

    if words.stem and words.parts:
        return lexical.Words().of(text)
    found = [word.lower() for word in lexical._WORD.findall(text)]
    kept = [word for word in found if word not in lexical._STOPWORDS]
    return lexical.Words()._stemmer().stemWords(kept) if words.stem else kept


def _weighted(document: Any, words: Words) -> list[str]:
    from rag_service.segments.lexical import _FIRST_SENTENCE_CHARACTERS, _FIRST_SENTENCE_END

    name, _, parameters = document.title.partition("(")
    first = _FIRST_SENTENCE_END.split(document.text, maxsplit=1)[0][:_FIRST_SENTENCE_CHARACTERS]
    weighted = _cut(name, words) * words.name_weight + _cut(first, words) * words.first_sentence
    return weighted + _cut(parameters, words) + _cut(document.text, words) or ["\0"]


def _fused(near: Ranking, worded: Ranking, choice: Choice) -> Ranking:
    scores: dict[int, float] = {}
    for ranking, weight in ((near, 1.0), (worded, choice.lexical_weight)):
        for rank, one in enumerate(ranking[: choice.depth], start=1):
            scores[one] = scores.get(one, 0.0) + weight / (choice.rrf_k + rank)
    return sorted(scores, key=lambda one: -scores[one])[:K]


def steps(bench: Bench) -> list[str]:
    """One line for each choice, added to those before it."""
    choice, lines = PLAIN, [f"{'':40} lexical  hybrid"]
    for name, change in (("plain BM25, plain rank fusion", {}), *STEPS):
        choice = replace(choice, **change)
        lexical = bench.found(bench.lexical(choice)).mean()
        lines.append(f"{name:40}   {lexical:.3f}   {bench.hybrid(choice).mean():.3f}")
    return lines


def choices() -> list[Choice]:
    """What was tried."""
    weights = [Words(name_weight=name, first_sentence=first) for name in (1, 2, 3) for first in (0, 1, 2)]
    bm25 = [(0.6, 0.4), (0.9, 0.4), (0.9, 0.75), (1.2, 0.75), (1.5, 0.75)]
    fusion = itertools.product((5, 10, 20, 60), (0.5, 0.7, 1.0), (15, 30))
    return [
        Choice(words, k1, b, rrf_k, weight, depth)
        for words, (k1, b), (rrf_k, weight, depth) in itertools.product(weights, bm25, list(fusion))
    ]


def halvings(bench: Bench, tried: Sequence[Choice]) -> list[str]:
    """Choose on one half, score on the other."""
    hybrid = np.array([bench.hybrid(choice) for choice in tried])
    vector = bench.found(bench.vector)
    rng = np.random.default_rng(_SEED)
    scored = []
    for _ in range(_HALVINGS):
        order = rng.permutation(len(vector))
        one, other = order[: len(order) // 2], order[len(order) // 2 :]
        best = int(np.argmax(hybrid[:, one].mean(axis=1)))
        scored.append((hybrid[best, one].mean(), hybrid[best, other].mean(), vector[other].mean()))
    chosen, held, alone = np.mean(scored, axis=0)
    ahead = np.mean([other > vector_alone for _, other, vector_alone in scored])
    return [
        f"{len(tried)} choices, {_HALVINGS} random halvings: the best on one half finds {chosen:.3f} there",
        f"and {held:.3f} on the other half, where the vector leg alone finds {alone:.3f};",
        f"it is ahead of the vector leg in {ahead:.0%} of the halvings",
    ]


def main() -> int:
    """The command."""
    bench = Bench()
    print(f"recall@{K} over {len(bench.golden)} golden questions", flush=True)
    print(f"vector leg alone: {bench.found(bench.vector).mean():.3f}\n")
    print("\n".join(steps(bench)), flush=True)
    print("\n" + "\n".join(halvings(bench, choices())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
