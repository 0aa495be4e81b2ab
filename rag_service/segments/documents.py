"""The indexed documents as the service holds them: text by id, and the stamp of the index they came from.

The vector DB answers with ids only, so service and DB must speak of the same index: the stamp (note 0001,
§2) travels with each search result and is compared with this one. Reading the folder is
`rag_service.corpus.load_documents`, which also checks that the documents fit their stamp.
"""

from __future__ import annotations

from dataclasses import dataclass

from rag_service.corpus import Document

__all__ = ["COLLECTION", "Document", "Documents", "Hit", "Scored"]

COLLECTION = "corpus"


@dataclass(frozen=True, slots=True)
class Scored:
    """A document's id with its score on one leg."""

    id: str
    score: float


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that was found, with its score after fusion.

    It carries its text, so that a question ends on the corpus it began with.
    """

    document: Document
    score: float


class Documents:
    """All documents of one index, in its order."""

    def __init__(self, documents: tuple[Document, ...], stamp: str) -> None:
        self.all = documents
        self.stamp = stamp
        self._by_id = {document.id: document for document in documents}

    def __len__(self) -> int:
        return len(self.all)

    def __contains__(self, document_id: str) -> bool:
        return document_id in self._by_id

    def __getitem__(self, document_id: str) -> Document:
        return self._by_id[document_id]
