"""What can go wrong in the database, so that the HTTP face can say it and the command can end with it.

Everything derives from `CorpusError`: an index folder that cannot be trusted and writes that cannot be
trusted end the start in the same way, with exit code 2 and a sentence.
"""

from __future__ import annotations

from rag_service.corpus.document import CorpusError


class StateCorrupt(CorpusError):
    """A log or snapshot that was acknowledged once and is not whole any more: refused, never guessed at."""


class Refused(Exception):
    """A request that was not carried out: a status, a code for programs and a sentence for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
