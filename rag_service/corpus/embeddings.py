"""Embeddings that were made already, so that no text is embedded twice.

Embedding is what an ingest costs (160 documents a second on two cores; everything else takes seconds). So
each batch is written beside the target as soon as it is made: an ingest that is interrupted, even by
`kill -9`, goes on where it was. The vectors of the index that is replaced count as made, too, so a changed
corpus embeds only what is new. A vector is known by a hash of its text, the model and how much that reads.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag_service.corpus.document import Document

Vectors = NDArray[np.float32]

_SUFFIX = ".npz"


def key_of(document: Document, model: str, sequence_length: int) -> bytes:
    """What a document's embedding depends on, as 32 bytes."""
    digest = hashlib.sha256(f"{model}\0{sequence_length}\0".encode())
    digest.update(embedded_text(document).encode())
    return digest.digest()


def embedded_text(document: Document) -> str:
    """The text that the model reads for a document."""
    return f"{document.title}\n{document.text}"


class KeptEmbeddings:
    """The vectors made so far, in a folder beside the index that is being built."""

    def __init__(self, folder: Path, dimension: int) -> None:
        self._folder = folder
        self._dimension = dimension
        self._vectors: dict[bytes, Vectors] = {}
        self._batches = 0

    @classmethod
    def beside(cls, out: Path, dimension: int) -> KeptEmbeddings:
        """Those of an earlier ingest into `out` that did not end."""
        kept = cls(out.with_name(f".{out.name}-embeddings"), dimension)
        for file in sorted(kept._folder.glob(f"*{_SUFFIX}")):
            kept._read(file)
            number = file.name.partition("-")[0]
            # In a container every process has the same id, so the number alone keeps names apart.
            kept._batches = max(kept._batches, int(number) if number.isdecimal() else 0)
        return kept

    def __len__(self) -> int:
        return len(self._vectors)

    def __contains__(self, key: bytes) -> bool:
        return key in self._vectors

    def __getitem__(self, key: bytes) -> Vectors:
        return self._vectors[key]

    def know(self, keys: Iterable[bytes], vectors: Vectors) -> None:
        """Vectors that need not be written, being in the index that is replaced."""
        self._vectors.update(zip(keys, vectors, strict=True))

    def keep(self, keys: list[bytes], vectors: Vectors) -> None:
        """Write a batch: whole or not at all."""
        if vectors.shape != (len(keys), self._dimension):
            raise ValueError(
                f"the model gave vectors of shape {vectors.shape} for {len(keys)} texts; "
                f"{(len(keys), self._dimension)} is expected"
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        self._batches += 1
        file = self._folder / f"{self._batches:06d}-{os.getpid()}{_SUFFIX}"
        torn = file.with_suffix(".part")
        with torn.open("wb") as stream:
            np.savez(stream, keys=np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 32), vectors=vectors)
        torn.replace(file)
        self.know(keys, vectors)

    def forget(self) -> None:
        """The index holds them all now."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self, file: Path) -> None:
        # Whatever cannot be read is embedded again.
        with contextlib.suppress(Exception), np.load(file, allow_pickle=False) as batch:
            keys, vectors = batch["keys"], batch["vectors"]
            fits = keys.dtype == np.uint8 and keys.shape == (len(vectors), 32)
            fits = fits and vectors.dtype == np.float32 and vectors.shape[1:] == (self._dimension,)
            if fits and np.isfinite(vectors.sum()):
                self.know((bytes(key) for key in keys), vectors)
