"""What a document is, and the stamp that says which documents an index was built from.

The vector leg (FAISS, another process) and the lexical leg (BM25, in the service) must talk about the same
documents. Both compare the stamp; an index that is older, emptier or made with another model is noticed
before it answers questions (public incidents: an index half loaded after a restart, a swapped model).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class CorpusError(ValueError):
    """A corpus that cannot be used. Its message says what is wrong, where, and what is allowed."""


@dataclass(frozen=True, slots=True)
class Document:
    """One retrievable text: `id` is unique in its corpus, `title` is for people, `text` is for the model."""

    id: str
    title: str
    text: str


def stamp_of(documents: Iterable[Document], model: str) -> str:
    """The sha256 over every document, in order, and the id of the embedding model."""
    digest = hashlib.sha256(model.encode())
    for document in documents:
        for field in (document.id, document.title, document.text):
            encoded = field.encode()
            digest.update(len(encoded).to_bytes(8, "big"))
            digest.update(encoded)
    return digest.hexdigest()


def checked(documents: Sequence[Document], source: str) -> tuple[Document, ...]:
    """The documents as they are, once it is sure that there are some and that no id occurs twice."""
    if not documents:
        raise CorpusError(f"{source} holds no documents; at least one with a text is needed")
    seen: set[str] = set()
    for document in documents:
        if document.id in seen:
            raise CorpusError(f"{source} holds the id {document.id!r} twice; every document needs its own id")
        seen.add(document.id)
    return tuple(documents)
