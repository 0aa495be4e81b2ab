"""The indexed documents as the service holds them: text by id, and the stamp of the index they came from.

The vector DB answers with ids only, so service and DB must speak of the same index: the stamp (note 0001,
§2) travels with each search result and is compared with this one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

COLLECTION = "corpus"


class IndexUnreadable(Exception):
    """The index folder is missing or broken; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Document:
    """One retrievable text."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Scored:
    """A document's id with its score on one leg, or after fusion."""

    id: str
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

    @classmethod
    def load(cls, folder: Path) -> Documents:
        """Read `documents.parquet` and `manifest.json`. Raises IndexUnreadable."""
        how = f"build it with: python -m rag_service.ingest --out {folder}"
        try:
            manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
            table = pq.read_table(folder / "documents.parquet", columns=["id", "title", "text"])
            stamp = str(manifest["stamp"])
        except FileNotFoundError as error:
            raise IndexUnreadable(f"no index in {folder}: {error.filename} is missing; {how}") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise IndexUnreadable(f"the index in {folder} is broken ({error}); {how}") from error
        columns = (table.column(name).to_pylist() for name in ("id", "title", "text"))
        documents = tuple(Document(*row) for row in zip(*columns, strict=True))
        if not documents:
            raise IndexUnreadable(f"the index in {folder} holds no document; {how}")
        return cls(documents, stamp)
