"""Where a corpus comes from: the standard library by default, the user's own files with `--corpus`.

Reading the whole standard library takes seconds, looking at its files' sizes and times takes a fraction of
one. So a source has two faces: `documents()`, and a cheap `fingerprint()` that changes whenever the documents
could.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rag_service.corpus.document import Document
from rag_service.corpus.files import corpus_files, file_documents
from rag_service.corpus.library import Library
from rag_service.corpus.stdlib import stdlib_documents


@dataclass(frozen=True, slots=True)
class CorpusSource:
    """A corpus that can be read: the user's files under `path`, or the standard library where it is None."""

    path: Path | None = None

    @property
    def name(self) -> str:
        """What the manifest calls it."""
        version = ".".join(map(str, sys.version_info[:3]))
        return f"Python {version} standard library" if self.path is None else str(self.path)

    def documents(self) -> tuple[Document, ...]:
        """All documents, in an order that does not change. Raises CorpusError when there is none."""
        return stdlib_documents() if self.path is None else file_documents(self.path)

    def fingerprint(self) -> str:
        """A sha256 over the name, size and time of every file that has a say, this package's own included."""
        files = Library().source_files() if self.path is None else corpus_files(self.path)
        own = sorted(Path(__file__).parent.glob("*.py"))
        return _fingerprint([sys.version, self.name], [*own, *files])


def _fingerprint(words: Iterable[str], files: Iterable[Path]) -> str:
    digest = hashlib.sha256("\0".join(words).encode())
    for file in files:
        status = file.stat()
        digest.update(f"\0{file}\0{status.st_size}\0{status.st_mtime_ns}".encode())
    return digest.hexdigest()
