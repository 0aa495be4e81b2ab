"""The write-ahead log: acknowledged once its record is on the disk, and only then shown to readers.

A file starts with a header (magic, stamp of the corpus, version before its first record, CRC-32). A record is
`u32` length, `u64` version and a CRC-32 of the two; then the payload; then a CRC-32 of all of it. The length
has a checksum of its own because a wrong length would make every later record look like a tail that never
was. So the two kinds of damage can be told apart: a record that the file ends in the middle of was being
written when the process died and was never acknowledged, so it is cut; a record that is all there but does
not fit its checksum was changed afterwards, so the log is refused. Writes that arrive together share one sync
(group commit).

What a process reads at its start may be in the system's cache only: written and not yet synced when the last
one was killed, or dropped by a sync that failed, after which the kernel calls those pages clean. So a log is
copied into a fresh file before it is gone on with.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from rag_service.vector_db.durable import Sync, place, sync_data, sync_folder, write_all
from rag_service.vector_db.errors import Refused, StateCorrupt

_MAGIC = b"RQLOG\x00\x00\x01"
_HEADER = struct.Struct("<8s32sQ")
_HEAD = struct.Struct("<IQ")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CRC.size
RECORD_BYTES = _HEAD.size + 2 * _CRC.size
"""What a record costs beyond its payload."""


@dataclass(frozen=True, slots=True)
class Record:
    """One acknowledged write."""

    version: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class LogContents:
    """A log as read: what is whole, where that ends, and how many bytes of an unfinished record follow."""

    stamp: str
    start_version: int
    records: tuple[Record, ...]
    good_bytes: int
    torn_bytes: int

    @property
    def version(self) -> int:
        return self.start_version + len(self.records)


def read_log(path: Path) -> LogContents:
    """All that is whole in a log. Raises StateCorrupt for one that was damaged."""
    return parse_log(path.read_bytes(), path)


def parse_log(data: bytes, path: Path) -> LogContents:
    """The same from bytes; `path` is for messages."""
    if len(data) < HEADER_BYTES:
        raise StateCorrupt(_refusal(path, "has no whole header", 0))
    magic, stamp, start_version = _HEADER.unpack_from(data)
    if magic != _MAGIC or _crc(data[: _HEADER.size]) != _CRC.unpack_from(data, _HEADER.size)[0]:
        raise StateCorrupt(_refusal(path, "has a header that does not fit its checksum", 0))
    records: list[Record] = []
    at, end = HEADER_BYTES, len(data)
    while at < end:
        expected = start_version + len(records) + 1
        if end - at < _HEAD.size + _CRC.size:
            break  # died while it wrote the head
        if not any(data[at : at + _HEAD.size]) and not any(data[at:]):
            break
        length, version = _HEAD.unpack_from(data, at)
        payload_at = at + _HEAD.size + _CRC.size
        head_crc = _crc(data[at : at + _HEAD.size])
        if head_crc != _CRC.unpack_from(data, at + _HEAD.size)[0]:
            raise StateCorrupt(_refusal(path, f"is damaged at byte {at}: its record's head", expected, at))
        if end - payload_at < length + _CRC.size:
            break
        payload = data[payload_at : payload_at + length]
        if _crc(payload, head_crc) != _CRC.unpack_from(data, payload_at + length)[0]:
            raise StateCorrupt(_refusal(path, f"is damaged at byte {at}: its record", expected, at))
        if version != expected:
            raise StateCorrupt(
                _refusal(path, f"has version {version} at byte {at}: that record", expected, at)
            )
        records.append(Record(version, payload))
        at = payload_at + length + _CRC.size
    return LogContents(stamp.hex(), start_version, tuple(records), at, end - at)


class LeftBehind(OSError):
    """A log that could not be made, and whose file is perhaps there all the same."""


class Log:
    """A log that is being written. One thread at a time."""

    def __init__(self, path: Path, descriptor: int, end: int, version: int, sync: Sync) -> None:
        self.path = path
        self.version = version
        self._descriptor = descriptor
        self._end = end
        self._sync = sync
        self._broken: str | None = None

    @classmethod
    def create(cls, path: Path, stamp: str, version: int, sync: Sync = sync_data) -> Self:
        """A new log for the writes after `version`; its header is on the disk when this returns.

        When it raises there is no file either; where that is not certain, it raises LeftBehind.
        """
        header = _HEADER.pack(_MAGIC, bytes.fromhex(stamp), version)
        try:
            place(path, [header, _CRC.pack(_crc(header))], read_log)
            return cls(path, os.open(path, os.O_RDWR | os.O_CLOEXEC), HEADER_BYTES, version, sync)
        except BaseException as error:
            _remove(path, error)
            raise

    @classmethod
    def resume(cls, path: Path, contents: LogContents, sync: Sync = sync_data) -> Self:
        """Go on with a log as read, put on the disk anew, without the unfinished record at its end.

        Where the disk takes no copy the log can be read and not written: `append` is refused.
        """
        problem = None
        try:
            _copy(path, contents)
        except OSError as error:
            problem = (
                f"{path} could not be put on the disk anew ({error.strerror}); searches go on, writes need a "
                "restart of the database on a healthy disk with room"
            )
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        log = cls(path, descriptor, contents.good_bytes, contents.version, sync)
        if problem is not None:
            log.give_up(problem)
        return log

    @property
    def size(self) -> int:
        return self._end

    def check(self) -> None:
        """Raises Refused when what this log holds beyond its acknowledged records is unknown."""
        if self._broken is not None:
            raise Refused(503, "log_broken", self._broken)

    def give_up(self, problem: str) -> None:
        """Take no write any more, for a reason that `check` says."""
        self._broken = problem

    def append(self, payloads: Sequence[bytes]) -> None:
        """Write and sync records. When this returns they survive; when it raises, none counts."""
        self.check()
        frames = b"".join(
            _frame(self.version + number, payload) for number, payload in enumerate(payloads, start=1)
        )
        try:
            write_all(self._descriptor, frames, self._end)
        except OSError as error:
            self._take_back(error)
            raise Refused(
                507, "disk_refuses", f"{self.path} cannot grow ({error.strerror}); make room and write again"
            ) from None
        try:
            self._sync(self._descriptor)
        except OSError as error:
            # What the disk holds after a failed sync is unknown: a second sync may claim success without
            # having written anything, and reading the file again is answered from memory.
            self._broken = (
                f"{self.path} could not be synced ({error.strerror}); searches go on, writes need a restart "
                "of the database on a healthy disk"
            )
            raise Refused(503, "log_broken", self._broken) from None
        self._end += len(frames)
        self.version += len(payloads)

    def close(self) -> None:
        os.close(self._descriptor)

    def _take_back(self, error: OSError) -> None:
        try:
            os.ftruncate(self._descriptor, self._end)
        except OSError:
            self._broken = f"{self.path} could not be written ({error.strerror}); restart the database"


def _remove(path: Path, because: BaseException) -> None:
    """Remove a log that nobody is going to write. Raises LeftBehind where it may come back."""
    try:
        if os.path.lexists(path):
            path.unlink()
            sync_folder(path.parent)
    except OSError as error:
        reason = because.strerror if isinstance(because, OSError) else str(because)
        raise LeftBehind(error.errno, f"{reason}; nor can {path.name} be removed") from because


def _copy(path: Path, contents: LogContents) -> None:
    """Replace a log by a fresh file of its whole records."""
    good = path.read_bytes()[: contents.good_bytes]
    if parse_log(good, path) != replace(contents, torn_bytes=0):
        raise StateCorrupt(f"{path} changed while it was read; end what else writes to it and start again")
    place(path, [good], read_log)


def _frame(version: int, payload: bytes) -> bytes:
    head = _HEAD.pack(len(payload), version)
    head_crc = _crc(head)
    return b"".join((head, _CRC.pack(head_crc), payload, _CRC.pack(_crc(payload, head_crc))))


def _crc(data: bytes, start: int = 0) -> int:
    return zlib.crc32(data, start)


def _refusal(path: Path, problem: str, version: int, at: int | None = None) -> str:
    if at is None:
        return f"{path} {problem}; restore it from a copy, or move it away to give up the writes in it"
    return (
        f"{path} {problem} (version {version}) does not fit what was written; "
        f"restore the file from a copy, or give up the writes from version {version} on with: "
        f"truncate -s {at} {path}"
    )
