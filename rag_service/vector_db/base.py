"""The part of a collection that the ingest made: opened only when its parts fit, never changed after.

Public incidents this refuses: an index half loaded after a restart that answers as if whole, and an index
made with another embedding model. Both would otherwise show as good latency and worthless answers. Vectors
are mapped into memory, not read: a start costs little, and several processes share the pages. The ingest
replaces files by a rename, so a mapped file never changes underneath.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from rag_service.corpus.document import CorpusError
from rag_service.corpus.index import VECTORS_FILE, Manifest, how_to_build, load_documents, load_manifest
from rag_service.corpus.vectors import all_finite, flat_vectors
from rag_service.vector_db import gpu
from rag_service.vector_db.durable import sync_data
from rag_service.vector_db.kinds import Flat, Hnsw, IndexKind, Ivf, Searcher, Tuning, choose, kind_of
from rag_service.vector_db.limits import MAX_DIMENSION
from rag_service.vector_db.operations import Vectors

Report = Callable[[str], None]


@dataclass(frozen=True)
class Base:
    """The documents of an ingest by row: ids, titles, vectors, and the index that searches them."""

    manifest: Manifest
    ids: tuple[str, ...]
    titles: tuple[str, ...]
    searcher: Searcher
    vector_at: Callable[[int], Vectors]

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def rows(self) -> dict[str, int]:
        """Each id's row. Made at the first write, because searching does not need it."""
        return {document_id: row for row, document_id in enumerate(self.ids)}


def open_base(
    index_dir: Path, tuning: Tuning, *, built_dir: Path | None = None, report: Report = lambda _: None
) -> Base:
    """The collection in an index folder. Raises CorpusError for one that cannot be trusted.

    An index of another kind than the file's is built once and kept in `built_dir`.
    """
    loaded = load_documents(index_dir)
    manifest, path = loaded.manifest, index_dir / VECTORS_FILE
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise CorpusError(f"{path} is not a FAISS index ({reason}); {how_to_build(index_dir)}") from None
    if load_manifest(index_dir) != manifest:
        raise CorpusError(f"{index_dir} was replaced while it was read; ask again")
    _check(index, manifest, path, index_dir)
    kind = kind_of(index, tuning)
    vector_at = _reader(index)
    wanted = choose(tuning, index.ntotal)
    if isinstance(kind, Flat) and not isinstance(wanted, Flat):
        kind, index = wanted, _built(wanted, index, manifest.stamp, built_dir, report)
    _touch(kind, index)
    searcher = gpu.searcher(kind, index)
    faiss.omp_set_num_threads(1)
    documents = loaded.documents
    ids, titles = tuple(item.id for item in documents), tuple(item.title for item in documents)
    return Base(manifest, ids, titles, searcher, vector_at)


def _check(index: Any, manifest: Manifest, path: Path, index_dir: Path) -> None:
    if index.d != manifest.dimension or index.d > MAX_DIMENSION:
        raise CorpusError(
            f"{path} holds vectors of {index.d} numbers, its manifest says {manifest.dimension} "
            f"({manifest.model}), and at most {MAX_DIMENSION} are allowed; {how_to_build(index_dir)}"
        )
    if index.ntotal != manifest.documents:
        raise CorpusError(
            f"{path} holds {index.ntotal} vectors for {manifest.documents} documents; "
            f"{how_to_build(index_dir)}"
        )
    if isinstance(index, faiss.IndexFlat) and not all_finite(index):
        raise CorpusError(
            f"{path} holds numbers that are not finite: it is damaged; {how_to_build(index_dir)}"
        )


def _touch(kind: IndexKind, index: Any) -> None:
    """Map every page of an index now, so that no search has to; a Flat one was read by its check."""
    faiss.omp_set_num_threads(1)
    if isinstance(kind, Ivf):
        everywhere = dataclasses.replace(kind, nprobe=kind.nlist).search_parameters(None)
        index.search(np.zeros((1, index.d), dtype=np.float32), 1, params=everywhere)
    elif isinstance(kind, Hnsw):
        flat_vectors(faiss.downcast_index(index.storage)).sum()


def _reader(index: Any) -> Callable[[int], Vectors]:
    if isinstance(index, faiss.IndexIVF):
        index.make_direct_map()

    def vector_at(row: int) -> Vectors:
        vector: Vectors = index.reconstruct(row)
        return vector

    return vector_at


def _built(kind: IndexKind, flat: Any, stamp: str, built_dir: Path | None, report: Report) -> Any:
    """The index of another kind: from `built_dir` when it is there and whole, else built and put there."""
    name = "-".join([kind.name, *(f"{key}{value}" for key, value in kind.parameters.items() if _builds(key))])
    path = None if built_dir is None else built_dir / f"{name}.faiss"
    if path is not None and (index := _kept(path, stamp, flat, report)) is not None:
        return index
    report(f"building {kind.name} {dict(kind.parameters)} over {flat.ntotal} vectors")
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    index = kind.build(flat_vectors(flat))
    if path is not None:
        # A folder that cannot be written costs time at the next start, nothing else. FAISS says RuntimeError.
        with suppress(OSError, RuntimeError):
            _keep(path, stamp, index)
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    return index


def _builds(parameter: str) -> bool:
    """Whether a parameter shapes the file; the others are chosen for each search."""
    return parameter not in ("nprobe", "ef_search")


def _kept(path: Path, stamp: str, flat: Any, report: Report) -> Any | None:
    try:
        note = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if note == {"stamp": stamp, "sha256": _sha256(path)}:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
            if (index.ntotal, index.d) == (flat.ntotal, flat.d):
                return index
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RuntimeError):
        pass
    report(f"{path} is not what was written; it is made anew from {VECTORS_FILE}")
    return None


def _keep(path: Path, stamp: str, index: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f"{path.name}.*"):
        if not _is_written(left):
            left.unlink(missing_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        faiss.write_index(index, str(beside))
        with beside.open("rb") as file:
            sync_data(file.fileno())
        note = json.dumps({"stamp": stamp, "sha256": _sha256(beside)})
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    path.with_suffix(".json").write_text(note, encoding="utf-8")


def _is_written(left: Path) -> bool:
    """Whether the process that this half-written file is named after is still there."""
    try:
        os.kill(int(left.suffix[1:]), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
