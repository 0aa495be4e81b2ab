"""stack.json while a stack runs: its own, and that of the run to which it is lent.

A stack that serves one run after another has a folder of its own. The bundle of the run that has it gets a
stack.json too, written at the same moments, which names the parts of the stack beside those that the run
itself has started (journeys, warden, hogs) and says who lends them. So the bundle's file suffices to stop
everything, the stack's own leads to it, and a bundle stands on its own.
"""

from __future__ import annotations

import threading
from pathlib import Path

from chaos.stack.description import FILE_NAME, PartRecord, StackDescription


class StackFile:
    """Writes FOLDER/stack.json at every change, and the borrower's beside it while the stack is lent."""

    def __init__(self, folder: Path) -> None:
        self.path = folder.absolute() / FILE_NAME
        self.description = StackDescription()
        self._borrower: Path | None = None
        self._brought: dict[str, PartRecord] = {}
        self._writing = threading.Lock()

    @property
    def current(self) -> Path:
        """The file that names a process which is started for the run now; the process carries its path."""
        return self._borrower or self.path

    def described(self) -> StackDescription:
        """What stands in the current file."""
        if self._borrower is None:
            return self.description
        parts = {**self.description.parts, **self._brought}
        return self.description.model_copy(
            update={"parts": parts, "lent_by": str(self.path), "lent_to": None}
        )

    def lend(self, folder: Path) -> None:
        """From now on what is adopted belongs to the run of that folder."""
        with self._writing:
            self._borrower = folder.absolute() / FILE_NAME
            self._brought = {}
            self.description.lent_to = str(self._borrower.parent)
            self._write()

    def take_back(self) -> None:
        """The run is over; its own file stays as it is."""
        with self._writing:
            self._borrower = None
            self._brought = {}
            self.description.lent_to = None
            self._write()

    def record_part(self, name: str, record: PartRecord) -> None:
        """A part of the stack, whoever has it at the moment."""
        with self._writing:
            self.description.parts[name] = record
            self._write()

    def record_brought(self, name: str, record: PartRecord) -> None:
        """A process that somebody else started: of the run while the stack is lent, else of the stack."""
        with self._writing:
            parts = self.description.parts if self._borrower is None else self._brought
            parts[name] = record
            self._write()

    def forget(self, name: str) -> None:
        """Take a record out, if it is there."""
        with self._writing:
            self.description.parts.pop(name, None)
            self._brought.pop(name, None)
            self._write()

    def write(self) -> None:
        """Write what was changed in the description itself."""
        with self._writing:
            self._write()

    def _write(self) -> None:
        if self._borrower is not None:
            self.described().write(self._borrower)
        self.description.write(self.path)
