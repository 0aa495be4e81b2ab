"""The corpus that questions are answered from, and its replacement while the service runs.

Documents, BM25 and stamp belong together, so they are one object that never changes; a new folder makes a
new one, in a thread, and one assignment puts it in the old one's place. A question takes the object once and
keeps it: it ends on the corpus it began with. A new folder that cannot be used is reported (`/readyz`, one
line on stderr) and the old corpus stays. Before and after the vector DB has been told to reload, the stamps
differ; its results are refused then, and the lexical leg answers.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

from rag_service.corpus import CorpusError, load_documents
from rag_service.corpus.index import DOCUMENTS_FILE, MANIFEST_FILE
from rag_service.segments.documents import Documents
from rag_service.segments.lexical import LexicalIndex

_LOG = logging.getLogger(__name__)
#: `ingest` replaces the folder by two renames: a look in between finds nothing, or halves that do not fit.
_SETTLE_S = 0.25

Signature = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Corpus:
    """One index's documents and BM25; `stamp` says which index that is."""

    documents: Documents
    lexical: LexicalIndex

    @classmethod
    def of(cls, documents: Documents) -> Corpus:
        return cls(documents, LexicalIndex(documents))

    @classmethod
    def load(cls, index_dir: Path) -> Corpus:
        """Read an index folder. Raises CorpusError for one that is missing, broken or of another stamp."""
        loaded = load_documents(index_dir)
        return cls.of(Documents(loaded.documents, loaded.manifest.stamp))

    @property
    def stamp(self) -> str:
        return self.documents.stamp


class LiveCorpus:
    """Holds the current corpus. Take `current` once for each question."""

    def __init__(self, corpus: Corpus) -> None:
        self.current = corpus
        #: Why the index folder as it is now cannot be used; None while it is the current one.
        self.problem: str | None = None


class CorpusWatch:
    """Looks at the index folder now and then, and swaps in what is new there."""

    def __init__(self, live: LiveCorpus, index_dir: Path, *, every_s: float) -> None:
        self._live = live
        self._index_dir = index_dir
        self._every_s = every_s
        self._seen: Signature | None = None

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.look()
            except Exception as error:  # a watch that dies would leave the old corpus forever, silently
                self._report(f"looking at {self._index_dir} failed: {error!r}")

    async def look(self) -> bool:
        """Whether a new corpus has taken the old one's place."""
        signature = await asyncio.to_thread(_signature, self._index_dir)
        if signature == self._seen:
            return False
        try:
            corpus = await asyncio.to_thread(self._load)
        except CorpusError:
            await asyncio.sleep(_SETTLE_S)
            signature = await asyncio.to_thread(_signature, self._index_dir)
            try:
                corpus = await asyncio.to_thread(self._load)
            except CorpusError as error:
                self._seen = signature
                self._report(str(error))
                return False
        self._seen = signature
        self._live.problem = None
        if corpus is None:
            return False
        before, self._live.current = self._live.current, corpus
        _LOG.warning(
            "the corpus was replaced: %d documents, stamp %.12s (before: %d, %.12s)",
            len(corpus.documents),
            corpus.stamp,
            len(before.documents),
            before.stamp,
        )
        return True

    def _load(self) -> Corpus | None:
        """The corpus in the folder, or None where it is the one that is held already."""
        loaded = load_documents(self._index_dir)
        if loaded.manifest.stamp == self._live.current.stamp:
            return None
        return Corpus.of(Documents(loaded.documents, loaded.manifest.stamp))

    def _report(self, problem: str) -> None:
        if problem != self._live.problem:
            _LOG.error("the old corpus stays: %s", problem)
        self._live.problem = problem


def _signature(index_dir: Path) -> Signature:
    """What changes whenever the folder's files do; empty entries where one is missing."""
    found: list[tuple[int, int, int]] = []
    for name in (MANIFEST_FILE, DOCUMENTS_FILE):
        try:
            status = (index_dir / name).stat()
        except OSError:
            found.append((0, 0, 0))
        else:
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)
