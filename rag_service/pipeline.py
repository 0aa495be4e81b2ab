"""How a question becomes an answer: embed → retrieve → context → generate.

`answer` runs up to the first token, the commit point. Until then each loss only chooses a lower rung of the
ladder (degradation.py); afterwards the stream can only go on or end in an error. With resilience
off there is no ladder: the first error is the answer.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rag_service.degradation import Loss, Need, Outcome, Rung, choose, lose, nothing_found
from rag_service.errors import DeadlineExceeded, Overloaded, RagError
from rag_service.resilience.deadline import Clock, current_deadline
from rag_service.segments.batching import Embedding
from rag_service.segments.context import ContextBuilder, Passage, Prompt
from rag_service.segments.documents import Hit
from rag_service.segments.embedder import Embedder
from rag_service.segments.extractive import extract
from rag_service.segments.generator import Generator
from rag_service.segments.retrieval import Retriever

_NOTHING_FOUND = "I found nothing about this in the documents."


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and how many documents each answer may draw on."""

    text: str
    top_k: int


class Tokens(Protocol):
    """The text of an answer as it comes. Always close it."""

    @property
    def finish_reason(self) -> str | None: ...
    def __aiter__(self) -> AsyncIterator[str]: ...
    async def aclose(self) -> None: ...


class FixedText:
    """A text that is whole already, in the shape of a stream."""

    finish_reason: str | None = "stop"

    def __init__(self, text: str) -> None:
        self._text = text

    async def __aiter__(self) -> AsyncIterator[str]:
        yield self._text

    async def aclose(self) -> None:
        """Nothing to hang up on."""


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
    passages: tuple[Passage, ...]
    tokens: Tokens
    timings: Timings

    @property
    def outcome(self) -> Outcome:
        return self.rung.outcome


@dataclass(slots=True)
class _Progress:
    """What has been lost so far, and whether a loss may be lived with."""

    tolerant: bool
    losses: list[Loss] = field(default_factory=list)

    def lost(self, need: Need, segment: str, error: RagError) -> None:
        if not self.tolerant:
            raise error
        self.losses.append(lose(need, segment, error))


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
        clock: Clock = time.monotonic,
    ) -> None:
        self._embedder = embedder
        self._retriever = retriever
        self._context = context
        self._generator = generator
        self._ladder = ladder
        self._clock = clock

    async def answer(self, question: Question) -> Answer:
        """The answer, with its first token there. Raises RagError where no rung is left."""
        timings = Timings(self._clock)
        progress = _Progress(self._ladder)
        with timings.step("embed"):
            embedding = await self._embed(question, progress)
        with timings.step("retrieve"):
            hits = await self._retrieve(question, embedding, progress)
        with timings.step("context"):
            prompt = self._context.build(question.text, hits)
        with timings.step("first_token"):
            tokens = await self._generate(prompt, progress) if prompt.passages else None
        if tokens is None and current_deadline().remaining_s() <= 0.0:
            raise DeadlineExceeded("finding another way to answer")
        return self._decide(question, prompt, tokens, progress, timings)

    async def _embed(self, question: Question, progress: _Progress) -> Embedding | None:
        try:
            return await self._embedder.embed(question.text)
        except RagError as error:
            progress.lost(Need.VECTOR, "embed", error)
            return None

    async def _retrieve(
        self, question: Question, embedding: Embedding | None, progress: _Progress
    ) -> tuple[Hit, ...]:
        vector = embedding.vector if embedding else None
        found = await self._retriever.retrieve(
            question.text, vector, question.top_k, tolerant=progress.tolerant
        )
        if found.vector_error is not None:
            progress.lost(Need.VECTOR, "retrieve", found.vector_error)
        if not found.hits:
            progress.losses.append(nothing_found())
        return found.hits

    async def _generate(self, prompt: Prompt, progress: _Progress) -> Tokens | None:
        try:
            return await self._generator.start(prompt)
        except RagError as error:
            progress.lost(Need.LLM, "generate", error)
            return None

    def _decide(
        self, question: Question, prompt: Prompt, tokens: Tokens | None, progress: _Progress, timings: Timings
    ) -> Answer:
        rung = choose(progress.losses)
        if rung.outcome is Outcome.REFUSED:
            reasons = ", ".join(f"{loss.segment}: {loss.reason}" for loss in progress.losses)
            raise Overloaded(
                f"no way to answer is left ({reasons})", reason="no_fallback_left", retry_after_s=5.0
            )
        if rung.name == "extractive":
            tokens = FixedText(extract(question.text, prompt.passages))
        elif rung.name == "nothing_found":
            tokens = FixedText(_NOTHING_FOUND)
        assert tokens is not None, "a rung that needs the model was chosen without it"
        return Answer(rung, tuple(progress.losses), prompt.passages, tokens, timings)
