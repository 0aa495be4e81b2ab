"""The `retrieve` segment: both legs at once, fused by reciprocal rank.

Hybrid is the normal way (design §4): each leg finds what the other misses, and degrading only drops one.
Reciprocal rank fusion (Cormack, Clarke, Büttcher 2009) needs no common scale for cosine and BM25:
score = Σ weight / (10 + rank). With the authors' constant of 60, a document that both legs rank thirtieth
beats one that a single leg ranks first; 10 trusts first places more. docs/explanation/retrieval.md says how
these numbers were chosen and what each is worth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from opentelemetry.trace import Tracer
from opentelemetry.util.types import AttributeValue

from rag_service.errors import RagError
from rag_service.segments.documents import COLLECTION, Hit, Scored
from rag_service.segments.live_corpus import Corpus, LiveCorpus
from rag_service.segments.vectors import VectorSearch
from rag_service.telemetry import names
from rag_service.telemetry.tracing import segment

_RRF_K = 10
_WEIGHTS = {"vector": 1.0, "lexical": 0.7}
#: Each leg looks deeper than the answer needs: fusion can only promote what a leg has returned.
LEG_DEPTH = 30
#: In a larger corpus a lexical search takes milliseconds (8 ms at 99,000, p95): too long for the event loop.
_ON_LOOP_DOCUMENTS = 20_000


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What was found, best first, in the corpus with that stamp, and how the legs did."""

    hits: tuple[Hit, ...]
    stamp: str
    legs: tuple[str, ...]
    vector_error: RagError | None


def fuse(legs: Mapping[str, tuple[Scored, ...]], top_k: int) -> tuple[Scored, ...]:
    """Reciprocal rank fusion; ties go to the document that a leg ranked first."""
    fused: dict[str, float] = {}
    for leg, hits in legs.items():
        for rank, hit in enumerate(hits, start=1):
            fused[hit.id] = fused.get(hit.id, 0.0) + _WEIGHTS[leg] / (_RRF_K + rank)
    best = sorted(fused.items(), key=lambda item: -item[1])[:top_k]
    return tuple(Scored(document_id, score) for document_id, score in best)


class Retriever:
    """Asks both legs and says which of them answered."""

    def __init__(self, live: LiveCorpus, vectors: VectorSearch, *, tracer: Tracer) -> None:
        self._live = live
        self._vectors = vectors
        self._tracer = tracer

    @property
    def stamp(self) -> str:
        """Of the corpus that the next question would be answered from."""
        return self._live.current.stamp

    async def retrieve(
        self, question: str, vector: npt.NDArray[np.float32] | None, top_k: int, *, tolerant: bool
    ) -> Retrieved:
        """Documents for `question`; without `vector` only the lexical leg runs.

        A vector leg that fails is reported in the result when `tolerant`, else its error is raised.
        """
        corpus = self._live.current
        documents = corpus.documents
        attributes: dict[str, AttributeValue] = {
            names.OPERATION: "retrieval",
            names.DATA_SOURCE: COLLECTION,
            names.TOP_K: top_k,
        }
        with segment(self._tracer, f"retrieval {COLLECTION}", attributes) as span:
            depth = max(top_k, LEG_DEPTH)
            searching = None
            legs: dict[str, tuple[Scored, ...]] = {}
            error: RagError | None = None
            try:
                if vector is not None:
                    searching = asyncio.ensure_future(self._vectors.search(vector, depth, corpus.stamp))
                    searching.add_done_callback(_heard)
                    await asyncio.sleep(0)  # let the request leave before BM25 takes the loop
                lexical = await _lexical(corpus, question, depth)
                if searching is not None:
                    legs["vector"] = tuple(hit for hit in await searching if hit.id in documents)
            except RagError as lost:
                if not tolerant:
                    raise
                error = lost
            finally:
                if searching is not None:
                    searching.cancel()
            legs["lexical"] = lexical
            hits = tuple(Hit(documents[one.id], one.score) for one in fuse(legs, top_k))
            # BM25 that knows none of the words has answered; a vector search that names nothing has not
            answered = tuple(leg for leg in legs if legs[leg] or leg == "lexical")
            found = Retrieved(hits, corpus.stamp, answered, error)
            span.set_attribute(names.LEGS, found.legs)
            span.set_attribute(names.DOCUMENT_IDS, [hit.document.id for hit in found.hits])
            span.set_attribute(names.DOCUMENT_SCORES, [round(hit.score, 6) for hit in found.hits])
            if error is not None:
                span.set_attribute(names.ERROR_TYPE, error.reason)
            return found


def _heard(searching: asyncio.Future[tuple[Scored, ...]]) -> None:
    """Who asks may leave before the search has failed; then its error is nobody's, and no line of the log."""
    if not searching.cancelled():
        searching.exception()


async def _lexical(corpus: Corpus, question: str, depth: int) -> tuple[Scored, ...]:
    if len(corpus.documents) <= _ON_LOOP_DOCUMENTS:
        return corpus.lexical.search(question, depth)
    return await asyncio.to_thread(corpus.lexical.search, question, depth)
