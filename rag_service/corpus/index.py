"""The index folder: what `python -m rag_service.ingest` writes and what the service and the vector DB read.

`documents.parquet` (id, title, text), `index.faiss` and `manifest.json`. Reading documents and manifest costs
milliseconds and needs neither torch nor faiss.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rag_service.corpus.document import CorpusError, Document, stamp_of

DOCUMENTS_FILE = "documents.parquet"
VECTORS_FILE = "index.faiss"
MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an index was built from.

    `sequence_length` is how many word pieces of a document the model read; `sources` fingerprints the files
    behind the corpus, for a quick check.
    """

    stamp: str
    model: str
    dimension: int
    sequence_length: int
    documents: int
    corpus: str
    sources: str


@dataclass(frozen=True, slots=True)
class LoadedCorpus:
    """The documents of an index, in the order of its vectors, with the manifest that they fit."""

    manifest: Manifest
    documents: tuple[Document, ...]


def load_manifest(index_dir: Path) -> Manifest:
    """The manifest of an index folder. Raises CorpusError when there is none or it cannot be read."""
    path = index_dir / MANIFEST_FILE
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return Manifest(
            stamp=str(fields["stamp"]),
            model=str(fields["model"]),
            dimension=int(fields["dimension"]),
            sequence_length=int(fields["sequence_length"]),
            documents=int(fields["documents"]),
            corpus=str(fields["corpus"]),
            sources=str(fields["sources"]),
        )
    except FileNotFoundError:
        problem = "does not exist"
    except (OSError, ValueError, TypeError) as error:
        problem = f"cannot be read ({error})"
    except KeyError as error:
        problem = f"lacks {error}"
    raise CorpusError(f"{path} {problem}; {how_to_build(index_dir)}")


def load_documents(index_dir: Path) -> LoadedCorpus:
    """Documents and manifest of an index folder, checked against each other."""
    manifest = load_manifest(index_dir)
    path = index_dir / DOCUMENTS_FILE
    try:
        table = pq.read_table(path, columns=["id", "title", "text"])
    except (OSError, pa.ArrowException) as error:
        raise CorpusError(f"{path} cannot be read ({error}); {how_to_build(index_dir)}") from None
    columns = (table.column(name).to_pylist() for name in ("id", "title", "text"))
    documents = tuple(Document(*row) for row in zip(*columns, strict=True))
    if len(documents) != manifest.documents or stamp_of(documents, manifest.model) != manifest.stamp:
        raise CorpusError(
            f"{path} holds {len(documents)} documents that do not fit the stamp of {MANIFEST_FILE} "
            f"({manifest.documents} documents, {manifest.stamp[:12]}…); {how_to_build(index_dir)}"
        )
    return LoadedCorpus(manifest, documents)


def write_documents(folder: Path, documents: Sequence[Document]) -> None:
    """Write `documents.parquet`."""
    columns = {name: [getattr(item, name) for item in documents] for name in ("id", "title", "text")}
    pq.write_table(pa.table(columns), folder / DOCUMENTS_FILE, compression="zstd")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`, for people as much as for programs; services look at it at any moment."""
    text = json.dumps(asdict(manifest), indent=2, sort_keys=True, ensure_ascii=False)
    torn = folder / f".{MANIFEST_FILE}.part"
    torn.write_text(text + "\n", encoding="utf-8")
    sync(torn)
    torn.replace(folder / MANIFEST_FILE)
    sync(folder)


def sync(path: Path) -> None:
    """Have a file's bytes or a folder's entries on the disk: a rename alone does not wait for them."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def how_to_build(index_dir: Path) -> str:
    """The next step for a person whose index is missing or unusable."""
    return f"build it with: python -m rag_service.ingest --out {index_dir}"
