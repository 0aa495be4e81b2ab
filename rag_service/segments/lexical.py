"""The lexical leg: BM25 in this process, which no network fault can reach.

It runs for every question, so that losing the vector leg drops to a path that is exercised all the time.
bm25s pitfalls handled here: unknown or empty questions come back as documents with score 0.0, which
would feed noise to the model, so only scores above 0 count; `k` above the corpus size raises. At 3,800
documents a search takes about 1 ms and runs on the event loop.
"""

from __future__ import annotations

import re

import bm25s
import numpy as np
from bm25s.stopwords import STOPWORDS_EN_PLUS

from rag_service.segments.documents import Documents, Scored

_WORD = re.compile(r"\w\w+")
_STOPWORDS = frozenset(STOPWORDS_EN_PLUS)


def words(text: str) -> list[str]:
    """Lower-cased words without stop words; identifiers such as `read_text` also count as their parts."""
    found: list[str] = []
    for word in _WORD.findall(text.lower()):
        if word in _STOPWORDS:
            continue
        found.append(word)
        if "_" in word:
            found.extend(part for part in word.split("_") if len(part) > 1)
    return found


class LexicalIndex:
    """BM25 over titles and texts of all documents."""

    def __init__(self, documents: Documents) -> None:
        self._ids = [document.id for document in documents.all]
        self._bm25 = bm25s.BM25()
        tokens = [words(f"{document.title}\n{document.text}") or ["\0"] for document in documents.all]
        self._bm25.index(tokens, show_progress=False)

    def search(self, question: str, k: int) -> tuple[Scored, ...]:
        """Up to `k` documents that share a word with the question, best first."""
        known = [word for word in words(question) if word in self._bm25.vocab_dict]
        if not known:
            return ()
        scores = self._bm25.get_scores(known)
        k = min(k, len(self._ids))
        best = np.argpartition(scores, -k)[-k:]
        best = best[np.argsort(-scores[best], kind="stable")]
        return tuple(Scored(self._ids[i], float(scores[i])) for i in best if scores[i] > 0.0)
