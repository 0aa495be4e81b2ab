"""Where a corpus comes from: the standard library by default, or the user's own files.

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

from rag_service.corpus.document import CorpusError, Document
from rag_service.corpus.files import corpus_files
from rag_service.corpus.library import Library
from rag_service.corpus.readers import Columns, Report, file_documents
from rag_service.corpus.stdlib import stdlib_documents


@dataclass(frozen=True, slots=True)
class CorpusSource:
    """A corpus that can be read: the user's files under `path`, or the standard library where it is None."""

    path: Path | None = None
    columns: Columns = Columns()  # noqa: RUF009 - frozen
    skip_bad: bool = False

    @property
    def name(self) -> str:
        """What the manifest calls it."""
        version = ".".join(map(str, sys.version_info[:3]))
        return f"Python {version} standard library" if self.path is None else str(self.path)

    def documents(self, report: Report | None = None) -> tuple[Document, ...]:
        """All documents, in an order that does not change. Raises CorpusError when there is none."""
        if self.path is None:
            return stdlib_documents()
        return file_documents(self.path, self.columns, skip_bad=self.skip_bad, report=report)

    def fingerprint(self) -> str:
        """A sha256 over the name, size and time of every file that has a say, this package's own included."""
        words = [sys.version, self.name]
        if self.path is None:
            files = tuple(Library().source_files())
        else:
            files = corpus_files(self.path).files
            words += [str(self.columns), str(self.skip_bad)]
        own = sorted(Path(__file__).parent.glob("*.py"))
        return _fingerprint(words, [*own, *files])


def _fingerprint(words: Iterable[str], files: Iterable[Path]) -> str:
    digest = hashlib.sha256("\0".join(words).encode(errors="surrogateescape"))
    for file in files:
        try:
            status = file.stat()
        except OSError as error:
            raise CorpusError(f"{file} cannot be read ({error.strerror})") from None
        known = f"\0{file}\0{status.st_size}\0{status.st_mtime_ns}"
        digest.update(known.encode(errors="surrogateescape"))
    return digest.hexdigest()
