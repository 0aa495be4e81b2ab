"""Bytes that stay: sync of files and folders, files that appear whole or not at all, one writer for a folder.

A rename is only as durable as the folder that holds it, so the folder is synced as well. The lock belongs to
the open file, so that the kernel gives it back even after `kill -9`.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

Sync = Callable[[int], None]
"""Makes what was written to a file descriptor survive; tests pass one that remembers or fails."""


def sync_data(descriptor: int) -> None:
    """Force a file's bytes to the disk."""
    if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: its fsync stops at the drive's cache
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    elif hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Force a folder's entries to the disk: what was created, renamed or removed in it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write every byte at `offset`; the system may take fewer at a time."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest = rest[written:]
        offset += written


def place(path: Path, pieces: Iterable[bytes | memoryview], check: Callable[[Path], object]) -> None:
    """Make `path` a file of these bytes: written beside it, synced, checked, renamed, the folder synced."""
    beside = path.with_name(f"{path.name}.new")
    try:
        with beside.open("wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            sync_data(file.fileno())
        check(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)


class FolderLock:
    """The right to write in a folder, held by one process at a time and for as long as it lives."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, folder: Path) -> Self | None:
        """The lock, or None when another process has it."""
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def release(self) -> None:
        os.close(self._descriptor)
