"""The journal: an append-only record of what happened when, one JSON object a line.

It is the runner's word to everyone who comes after it. The evaluator takes the phases and the fault
windows from it, and whoever cleans up after a dead runner (the warden, `ragquake rollback`) finds the
outstanding undos in it. So each line is on disk before the deed that it announces: written in one
call, flushed and synced. A line that a crash cut in half is skipped by the reader.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chaos.clock import Clock, SystemClock

FILE_NAME = "journal.jsonl"
Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class OutstandingUndo:
    """A fault that may still be in, and the data that undoes it."""

    fault: str
    undo: Mapping[str, Any]


class Journal:
    """Appends facts to one journal file; safe to use from several threads of one process.

    Lines go out through one `os.write` on a descriptor opened for appending, so that the runner and
    the warden can write to the same file without tearing each other's lines. `told` hears of each fact
    once it is written, in the thread that wrote it.
    """

    def __init__(
        self, path: Path, clock: Clock | None = None, told: Callable[[Entry], None] = lambda _entry: None
    ) -> None:
        self.path = path
        self._told = told
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._is_torn = _ends_torn(path)

    def append(self, event: str, **facts: Any) -> Entry:
        """Write one fact, durably, and return it. `at_s` is Unix time in seconds.

        Raises OSError when it is not on disk as a whole.
        """
        entry: Entry = {"at_s": round(self._clock.unix_s(), 6), "event": event, **facts}
        line = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            self._write(b"\n" + line if self._is_torn else line)
        self._told(entry)
        return entry

    def _write(self, line: bytes) -> None:
        """A full disk takes half a line without a word: then it is not written, and no deed may follow."""
        try:
            self._is_torn = os.write(self._fd, line) < len(line)
            if self._is_torn:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._fd)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from None

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read(path: Path) -> list[Entry]:
    """Every whole line of a journal; lines that a crash tore are skipped. No file means no entries."""
    if not path.exists():
        return []
    entries = []
    for line in path.read_bytes().split(b"\n"):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and "event" in entry:
            entries.append(entry)
    return entries


def outstanding_undos(entries: Iterable[Entry]) -> list[OutstandingUndo]:
    """Declared undos whose fault was not seen to be gone afterwards; the last declared comes first."""
    undos: dict[str, Mapping[str, Any]] = {}
    for entry in entries:
        if entry["event"] == "undo.declared":
            undos.pop(entry["fault"], None)
            undos[entry["fault"]] = entry["undo"]
        elif entry["event"] == "fault.verified_gone":
            undos.pop(entry["fault"], None)
        elif entry["event"] == "rollback.finished":
            for fault in entry.get("undone", []):
                undos.pop(fault, None)
    return [OutstandingUndo(fault, undo) for fault, undo in reversed(undos.items())]


def _ends_torn(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        if file.tell() == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
