"""How a question becomes an answer: embed → retrieve → context → generate.

`answer` runs up to the first token, the commit point. Until then each loss only chooses a lower rung of the
ladder (degradation.py); afterwards the stream can only go on or end in an error. Answers that came
out full are kept, and stand in when no better one can be made. With resilience off there is no ladder: the
first error is the answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from rag_service.degradation import (
    CACHE_HITS,
    REFUSAL,
    Loss,
    Need,
    Outcome,
    Rung,
    choose,
    labels,
    lose,
    lose_to,
    rung_of,
)
from rag_service.errors import DeadlineExceeded, Overloaded, RagError
from rag_service.resilience.deadline import Clock, current_deadline
from rag_service.segments.batching import Embedding
from rag_service.segments.cache import AnswerCache, Citation, KeptAnswer, Key
from rag_service.segments.context import ContextBuilder, Prompt
from rag_service.segments.embedder import Embedder
from rag_service.segments.extractive import extract
from rag_service.segments.generator import Generator
from rag_service.segments.retrieval import Retrieved, Retriever
from rag_service.segments.tokens import FixedText, Recorded, Tokens

_NOTHING_FOUND = "I found nothing about this in the documents."


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, how many documents the answer may draw on, and whether there is room for a long one."""

    text: str
    top_k: int
    pressure: bool = False


@dataclass(frozen=True, slots=True)
class Brief:
    """What an answer under pressure is cut to."""

    max_documents: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Keeping:
    """The answers kept; with `first` one to the same question is given before anything is asked."""

    cache: AnswerCache
    model: str
    first: bool = False

    def key(self, question: Question, stamp: str) -> Key:
        return Key.of(question.text, question.top_k, stamp, self.model)

    def look(self, key: Key, embedding: Embedding | None) -> _Kept | None:
        """The answer to this very question, else (if it could be embedded) to one that asks the same."""
        if same := self.cache.same(key):
            return _Kept(Need.SAME_QUESTION, same)
        if embedding is not None and (alike := self.cache.alike(key, embedding.vector)):
            return _Kept(Need.ALIKE_QUESTION, alike)
        return None


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answer found in the cache, and what it meets."""

    need: Need
    answer: KeptAnswer


class Cited(Protocol):
    """A document that an answer draws on."""

    @property
    def id(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def score(self) -> float: ...


class Timings:
    """Milliseconds per step, for the answer's `timings_ms`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = clock()
        self.ms: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = self._clock()
        try:
            yield
        finally:
            self.ms[name] = round((self._clock() - started) * 1000.0, 3)

    def total(self) -> dict[str, float]:
        return self.ms | {"total": round((self._clock() - self._started) * 1000.0, 3)}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer at its commit point: everything is decided but the rest of its text."""

    rung: Rung
    losses: tuple[Loss, ...]
    passages: tuple[Cited, ...]
    tokens: Tokens
    timings: Timings

    @property
    def outcome(self) -> Outcome:
        return self.rung.outcome

    @property
    def cache_hit(self) -> str | None:
        """Which cache it came from, if it came from one."""
        return CACHE_HITS.get(self.rung.name)

    def lost(self, need: Need) -> str | None:
        """Why `need` was lost, if it was."""
        return next((loss.reason for loss in self.losses if loss.need is need), None)


@dataclass(slots=True)
class _Progress:
    """What has been lost so far, and whether a loss may be lived with."""

    tolerant: bool
    losses: list[Loss] = field(default_factory=list)

    def lost(self, need: Need, segment: str, error: RagError) -> None:
        if not self.tolerant:
            raise error
        self.losses.append(lose_to(error, need, segment))


@dataclass(frozen=True, slots=True)
class _Ground:
    """What an answer can stand on, once retrieval is done."""

    question: Question
    embedding: Embedding | None
    stamp: str
    prompt: Prompt


class Pipeline:
    """The segments in their order. `ladder=False` is the tutorial service without fallbacks."""

    def __init__(
        self,
        embedder: Embedder,
        retriever: Retriever,
        context: ContextBuilder,
        generator: Generator,
        *,
        ladder: bool,
        brief: Brief,
        keeping: Keeping | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._embedder = embedder
        self._retriever = retriever
        self._context = context
        self._generator = generator
        self._ladder = ladder
        self._brief = brief
        self._keeping = keeping if ladder else None
        self._clock = clock

    async def answer(self, question: Question) -> Answer:
        """The answer, with its first token there. Raises RagError where no rung is left."""
        timings = Timings(self._clock)
        if self._keeping is not None and self._keeping.first:
            kept = self._keeping.cache.same(self._keeping.key(question, self._retriever.stamp))
            if kept is not None:
                return _again(rung_of(Need.SAME_QUESTION), kept, [], timings)
        progress = _Progress(self._ladder)
        brief = self._brief if question.pressure and self._ladder else None
        if brief:
            progress.losses.append(lose(Need.ROOM, "request", "pressure"))
        with timings.step("embed"):
            embedding = await self._embed(question, progress)
        with timings.step("retrieve"):
            found = await self._retrieve(question, embedding, progress)
        with timings.step("context"):
            prompt = self._context.build(question.text, found.hits, brief.max_documents if brief else None)
        with timings.step("first_token"):
            tokens = await self._generate(prompt, brief, progress) if prompt.passages else None
        if tokens is None and current_deadline().remaining_s() <= 0.0:
            raise DeadlineExceeded("finding another way to answer")
        ground = _Ground(question, embedding, found.stamp, prompt)
        if tokens is None:
            return self._stand_in(ground, progress.losses, timings)
        rung = choose(progress.losses)
        if rung.outcome is Outcome.FULL:
            tokens = self._recorded(tokens, ground)
        return Answer(rung, tuple(progress.losses), prompt.passages, tokens, timings)

    async def _embed(self, question: Question, progress: _Progress) -> Embedding | None:
        try:
            return await self._embedder.embed(question.text)
        except RagError as error:
            progress.lost(Need.VECTOR, "embed", error)
            return None

    async def _retrieve(
        self, question: Question, embedding: Embedding | None, progress: _Progress
    ) -> Retrieved:
        vector = embedding.vector if embedding else None
        found = await self._retriever.retrieve(
            question.text, vector, question.top_k, tolerant=progress.tolerant
        )
        if found.vector_error is not None:
            progress.lost(Need.VECTOR, "retrieve", found.vector_error)
        if not found.hits:  # a loss too, or an answer from nothing would look whole
            progress.losses.append(lose(Need.DOCUMENTS, "retrieve", "no_documents"))
        elif progress.tolerant and embedding and not found.vector_error and "vector" not in found.legs:
            # the nearest documents always exist: a search that names none has failed, whatever its status
            progress.losses.append(lose(Need.VECTOR, "retrieve", "empty_result"))
        return found

    async def _generate(self, prompt: Prompt, brief: Brief | None, progress: _Progress) -> Tokens | None:
        try:
            return await self._generator.start(prompt, max_tokens=brief.max_tokens if brief else None)
        except RagError as error:
            progress.lost(Need.LLM, "generate", error)
            return None

    def _recorded(self, tokens: Tokens, ground: _Ground) -> Tokens:
        """A full answer's tokens, to be kept once they have come to their end."""
        if self._keeping is None or ground.embedding is None:
            return tokens
        cited = tuple(Citation(one.id, one.title, one.score) for one in ground.prompt.passages)
        key = self._keeping.key(ground.question, ground.stamp)
        return Recorded(tokens, partial(self._keep, self._keeping.cache, key, ground.embedding, cited))

    def _keep(
        self, cache: AnswerCache, key: Key, embedding: Embedding, cited: tuple[Citation, ...], text: str
    ) -> None:
        """Unless the corpus was replaced meanwhile: it would push out all that was kept of the new one."""
        if key.stamp == self._retriever.stamp:
            cache.keep(key, embedding.vector, KeptAnswer(text, cited))

    def _stand_in(self, ground: _Ground, losses: list[Loss], timings: Timings) -> Answer:
        """The best answer that needs no model."""
        question, passages = ground.question, ground.prompt.passages
        if self._keeping is not None:
            key = self._keeping.key(question, ground.stamp)
            if kept := self._keeping.look(key, ground.embedding):
                return _again(choose(losses, frozenset({kept.need})), kept.answer, losses, timings)
        rung = choose(losses)
        if rung is REFUSAL:
            reasons = ", ".join(f"{loss.segment}: {loss.reason}" for loss in losses)
            raise Overloaded(
                f"no way to answer is left ({reasons})", reason="no_fallback_left", retry_after_s=5.0
            )
        text = _NOTHING_FOUND if rung.name == "nothing_found" else extract(question.text, passages)
        return Answer(rung, tuple(losses), passages, FixedText(text), timings)


def _again(rung: Rung, kept: KeptAnswer, losses: list[Loss], timings: Timings) -> Answer:
    return Answer(rung, labels(losses, rung), kept.citations, FixedText(kept.text), timings)
