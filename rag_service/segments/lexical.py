"""The lexical leg: BM25 in this process, which no network fault can reach.

It runs for every question, so that losing the vector leg drops to a path that is exercised all the time.
Words are stemmed (`parsing` finds `parse`), and identifiers also count as their parts (`read_text` as `read`
and `text`, `ThreadPoolExecutor` as `thread`, `pool`, `executor`). A document's name and first sentence
say what it is about and count more often than the rest. k1 and b are the usual values for short passages;
docs/explanation/retrieval.md says how the numbers were chosen and what each is worth.

bm25s pitfalls handled here: unknown or empty questions come back as documents with score 0.0, which would
feed noise to the model, so only scores above 0 count; `k` above the corpus size raises. A search takes 0.2 ms
(p95 0.6 ms) at 3,810 documents, 0.5 ms (p95 8 ms) at 99,000.
"""

from __future__ import annotations

import re
import threading
from typing import Any

import bm25s
import numpy as np
import Stemmer
from bm25s.stopwords import STOPWORDS_EN_PLUS

from rag_service.segments.documents import Document, Documents, Scored

_K1 = 0.9
_B = 0.4
_NAME_WEIGHT = 3
_FIRST_SENTENCE_CHARACTERS = 200

_WORD = re.compile(r"\w\w+")
_PART = re.compile(r"_+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_FIRST_SENTENCE_END = re.compile(r"\n\s*\n|(?<=[a-z])\.\s")
_STOPWORDS = frozenset(STOPWORDS_EN_PLUS)
#: What an empty document consists of: bm25s cannot index nothing, and no question holds this word.
_NOTHING = "\0"


class Words:
    """Cuts a text into the words that are compared."""

    def __init__(self) -> None:
        self._of_thread = threading.local()  # a stemmer is not for several threads at once

    def of(self, text: str) -> list[str]:
        """Stemmed, lower-cased words without stop words; identifiers count whole and as their parts."""
        found: list[str] = []
        for word in _WORD.findall(text):
            parts = _PART.split(word)
            for one in (word, *parts) if len(parts) > 1 else parts:
                lower = one.lower()
                if len(lower) > 1 and lower not in _STOPWORDS:
                    found.append(lower)
        stemmed: list[str] = self._stemmer().stemWords(found)
        return stemmed

    def _stemmer(self) -> Any:
        if not hasattr(self._of_thread, "stemmer"):
            self._of_thread.stemmer = Stemmer.Stemmer("english")
        return self._of_thread.stemmer


class LexicalIndex:
    """BM25 over titles and texts of all documents."""

    def __init__(self, documents: Documents) -> None:
        self._ids = [document.id for document in documents.all]
        self._words = Words()
        self._bm25 = bm25s.BM25(k1=_K1, b=_B)
        self._bm25.index([self._weighted(document) for document in documents.all], show_progress=False)

    def search(self, question: str, k: int) -> tuple[Scored, ...]:
        """Up to `k` documents that share a word with the question, best first."""
        known = [word for word in self._words.of(question) if word in self._bm25.vocab_dict]
        if not known:
            return ()
        scores = self._bm25.get_scores(known)
        k = min(k, len(self._ids))
        best = np.argpartition(scores, -k)[-k:]
        best = best[np.argsort(-scores[best], kind="stable")]
        return tuple(Scored(self._ids[i], float(scores[i])) for i in best if scores[i] > 0.0)

    def _weighted(self, document: Document) -> list[str]:
        """The words of a document, those of its name (the title before any parameters) several times."""
        name, _, parameters = document.title.partition("(")
        first = _FIRST_SENTENCE_END.split(document.text, maxsplit=1)[0][:_FIRST_SENTENCE_CHARACTERS]
        of = self._words.of
        return of(name) * _NAME_WEIGHT + of(first) + of(parameters) + of(document.text) or [_NOTHING]
