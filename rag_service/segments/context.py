"""The `context` segment: the few best documents, trimmed to a token budget, as a prompt.

Four documents of 256 tokens: more costs prefill time (the first token is what users wait for) and, with
a small model, quality. Tokens are counted with MiniLM's own tokenizer (an estimate of the
language model's own count); trimmed texts are kept, since popular documents recur.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from opentelemetry.trace import Tracer
from tokenizers import Tokenizer

from rag_service.segments.documents import Document, Hit
from rag_service.telemetry import names
from rag_service.telemetry.tracing import segment

_KEPT_TEXTS = 4096
_CHARACTERS_PER_TOKEN = 12
_INSTRUCTIONS = (
    "You answer questions from the given context only. Name the sources you used by their numbers, like [1]. "
    "If the context does not hold the answer, say so."
)


@dataclass(frozen=True, slots=True)
class Passage:
    """A document as far as it fits into the prompt."""

    id: str
    title: str
    score: float
    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is asked."""

    system: str
    user: str
    passages: tuple[Passage, ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class Trimmed:
    """A text cut to a number of tokens, and how many it has now."""

    text: str
    tokens: int


class TokenCounter:
    """Trims texts to a number of tokens."""

    def __init__(self, tokenizer_file: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(tokenizer_file))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def trim(self, text: str, max_tokens: int) -> Trimmed:
        head = text[: max_tokens * _CHARACTERS_PER_TOKEN]  # more cannot fit, and counting costs time
        encoded = self._tokenizer.encode(head, add_special_tokens=False)
        if len(encoded.ids) <= max_tokens:
            return Trimmed(head, len(encoded.ids))
        return Trimmed(head[: encoded.offsets[max_tokens - 1][1]], max_tokens)


class ContextBuilder:
    """Makes the prompt."""

    def __init__(
        self,
        counter: TokenCounter,
        *,
        max_documents: int,
        max_tokens: int,
        tracer: Tracer,
    ) -> None:
        self._counter = counter
        self._max_documents = max_documents
        self._tokens_each = max_tokens // max_documents
        self._tracer = tracer
        self._trimmed: OrderedDict[Document, Trimmed] = OrderedDict()

    def build(self, question: str, hits: tuple[Hit, ...], max_documents: int | None = None) -> Prompt:
        """The prompt over the best of `hits`; `max_documents` can only lower the setting."""
        most = min(max_documents or self._max_documents, self._max_documents)
        with segment(self._tracer, "context", {names.CONTEXT_DOCUMENT_IN: len(hits)}) as span:
            passages = tuple(self._passage(hit.document, hit.score) for hit in hits[:most])
            parts = [f"[{n}] {p.title}\n{p.text}" for n, p in enumerate(passages, start=1)]
            user = "Context:\n" + "\n\n".join(parts) + f"\n\nQuestion: {question}"
            tokens = sum(passage.tokens for passage in passages)
            span.set_attribute(names.CONTEXT_DOCUMENT_COUNT, len(passages))
            span.set_attribute(names.CONTEXT_TOKENS, tokens)
            return Prompt(_INSTRUCTIONS, user, passages, tokens)

    def _passage(self, document: Document, score: float) -> Passage:
        trimmed = self._trimmed.get(document)
        if trimmed is None:
            trimmed = self._counter.trim(document.text, self._tokens_each)
            self._trimmed[document] = trimmed
            if len(self._trimmed) > _KEPT_TEXTS:
                self._trimmed.popitem(last=False)
        else:
            self._trimmed.move_to_end(document)
        return Passage(document.id, document.title, score, trimmed.text, trimmed.tokens)
