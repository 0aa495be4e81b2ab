"""A snapshot: how the collection differs from its index folder at one version, in one checked file.

Only the difference is kept, so a snapshot costs what was written and not what was ingested, and it cannot
outlive its corpus: it names the stamp. Magic, `u32` length of a JSON head, head, metadata, vectors, SHA-256
of it all.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic_core import from_json, to_json

from rag_service.vector_db.durable import place
from rag_service.vector_db.errors import StateCorrupt
from rag_service.vector_db.operations import Upsert

_MAGIC = b"RQSNAP\x00\x01"
_LENGTH = struct.Struct("<I")
_DIGEST_BYTES = 32
_CHECKED_AT_ONCE = 1024 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The points written since the ingest and the ids of the ingest that are gone or replaced."""

    stamp: str
    version: int
    written: Upsert
    gone: tuple[str, ...]


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Put a snapshot in its place; it is read back and checked before it gets its name."""
    place(path, _pieces(snapshot), _check)


def read_snapshot(path: Path, dimension: int) -> Snapshot:
    """A snapshot. Raises StateCorrupt for a file that is not what was written."""
    _check(path)
    body = memoryview(path.read_bytes())[:-_DIGEST_BYTES]
    (length,) = _LENGTH.unpack_from(body, len(_MAGIC))
    at = len(_MAGIC) + _LENGTH.size + length
    head = from_json(bytes(body[at - length : at]))
    if head["dimension"] != dimension:
        raise StateCorrupt(
            f"{path} holds vectors of {head['dimension']} numbers, the corpus has {dimension}; "
            f"remove the folder {path.parent} to give up its writes"
        )
    metadata = []
    for size in head["metadata"]:
        metadata.append(bytes(body[at : at + size]))
        at += size
    ids = tuple(head["ids"])
    vectors = np.frombuffer(body, dtype="<f4", offset=at).astype(np.float32, copy=False)
    written = Upsert(ids, vectors.reshape(len(ids), dimension), tuple(metadata))
    return Snapshot(head["stamp"], head["version"], written, tuple(head["gone"]))


def _check(path: Path) -> None:
    """Compare a file with its checksum, a piece at a time."""
    size, digest = path.stat().st_size, hashlib.sha256()
    with path.open("rb") as file:
        left = size - _DIGEST_BYTES
        while left > 0 and (piece := file.read(min(left, _CHECKED_AT_ONCE))):
            digest.update(piece)
            left -= len(piece)
        if left == 0 and file.read() == digest.digest():
            return
    raise StateCorrupt(
        f"{path} is damaged: its {size} bytes do not fit their checksum; restore it from a copy, or "
        f"remove the folder {path.parent} to give up all writes since the ingest"
    )


def _pieces(snapshot: Snapshot) -> Iterator[bytes | memoryview]:
    digest = hashlib.sha256()
    written = snapshot.written
    head = to_json(
        {
            "stamp": snapshot.stamp,
            "version": snapshot.version,
            "dimension": written.vectors.shape[1],
            "ids": written.ids,
            "metadata": [len(item) for item in written.metadata],
            "gone": snapshot.gone,
        }
    )
    numbers = np.ascontiguousarray(written.vectors, dtype="<f4").ravel().view(np.uint8).data
    for piece in (_MAGIC, _LENGTH.pack(len(head)), head, b"".join(written.metadata), numbers):
        digest.update(piece)
        yield piece
    yield digest.digest()
