"""The folder that keeps the writes of one corpus: logs and at most one snapshot, named by version.

It lies beside the index folder, not in it, because an ingest replaces that folder as a whole; and it is named
after the stamp, so that writes to one corpus are never applied to another. It is made at the first write: a
database that is only searched works from a disk that cannot be written. Recovery is the snapshot, then every
log record after it, with no version missing in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rag_service.vector_db.durable import FolderLock, Sync, sync_data, sync_folder
from rag_service.vector_db.errors import Refused, StateCorrupt
from rag_service.vector_db.log import LeftBehind, Log, LogContents, read_log
from rag_service.vector_db.operations import Operation, decode, encode
from rag_service.vector_db.snapshot import Snapshot, read_snapshot, write_snapshot

_LOG, _SNAPSHOT = "log-", "snapshot-"
_READS = 10
_ELSEWHERE = "another process writes to {folder}; send writes to that one, or give this one its own --state"


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a folder held: where to start, what to do again, and what was cut off as never acknowledged."""

    snapshot: Snapshot | None
    operations: tuple[Operation, ...]
    version: int
    torn_bytes: int
    last_log: Path | None
    last_contents: LogContents | None


def recover(folder: Path, stamp: str, dimension: int) -> Recovered:
    """Read a folder of writes; changes nothing. Raises StateCorrupt for one that lost something."""
    snapshots, logs = _files(folder, _SNAPSHOT), _files(folder, _LOG)
    snapshot = read_snapshot(snapshots[-1], dimension) if snapshots else None
    version = _version(snapshots[-1]) if snapshots else 0
    if snapshot is not None and (snapshot.stamp, snapshot.version) != (stamp, version):
        raise StateCorrupt(_stranger(snapshots[-1], snapshot.stamp, snapshot.version))
    if snapshots and not any(_version(path) >= version for path in logs):
        raise StateCorrupt(
            f"{folder} has the snapshot of version {version} but no log of the writes after it "
            f"({_LOG}{version:020d}); restore it from a copy, or remove the folder to give up its writes"
        )
    operations: list[Operation] = []
    contents = None
    for path in logs:
        before, contents = contents, read_log(path)
        if (contents.stamp, contents.start_version) != (stamp, _version(path)):
            raise StateCorrupt(_stranger(path, contents.stamp, contents.start_version))
        if contents.torn_bytes and path != logs[-1]:
            raise StateCorrupt(
                f"{path} ends in the middle of a record although a later log follows; restore it from a copy"
            )
        if before is not None and contents.start_version < before.version:
            raise StateCorrupt(
                f"{path} and the log before it both hold version {before.version}; restore them from a copy"
            )
        if contents.start_version > version:
            raise StateCorrupt(
                f"{folder} has no record of the versions {version + 1} to {contents.start_version}: a log "
                f"before {path.name} is missing; restore it from a copy, or remove the folder to give it up"
            )
        for record in contents.records:
            if record.version > version:
                operations.append(_decoded(record.payload, dimension, path))
                version = record.version
    torn = contents.torn_bytes if contents is not None else 0
    return Recovered(snapshot, tuple(operations), version, torn, logs[-1] if logs else None, contents)


class Store:
    """The writing side of a folder. One thread at a time, but for `keep`."""

    def __init__(self, folder: Path, stamp: str, dimension: int, sync: Sync = sync_data) -> None:
        self.folder = folder
        self._stamp = stamp
        self._dimension = dimension
        self._sync = sync
        self._lock: FolderLock | None = None
        self._log: Log | None = None

    def open(self) -> Recovered | None:
        """What was written before. None where there is nothing; takes the right to write where it can."""
        if not self.folder.is_dir():
            return None
        try:
            self._lock = FolderLock.take(self.folder)
        except OSError:
            self._lock = None  # a disk that cannot be written can still be read
        try:
            recovered = self._recovered()
            if self._lock is not None:
                self._take_up(recovered)
        except BaseException:
            self.close()  # the folder may be mended, and then somebody has to be able to write
            raise
        return recovered

    @property
    def log_bytes(self) -> int:
        return self._log.size if self._log is not None else 0

    def append(self, operations: Sequence[Operation], version: int) -> None:
        """Put writes on the disk; `version` is the one before them. Raises Refused."""
        payloads = [encode(operation) for operation in operations]
        (self._log or self._first_log(version)).append(payloads)

    def roll(self, version: int) -> None:
        """Begin a new log, so that a snapshot of `version` can take the place of those before it.

        Raises Refused; then writes go on in the old log, unless a new one may come after it all the same.
        """
        if self._log is None:
            self._first_log(version)
            return
        self._log.check()  # a log with an unknown end must stay the last one
        path = self._path(_LOG, version)
        if self._log.path == path:
            return
        try:
            log = Log.create(path, self._stamp, version, self._sync)
        except LeftBehind as error:
            # A write to the old log would now have the same version as the first one in the new log.
            self._log.give_up(
                f"{path} could not be made ({error.strerror}); searches go on, writes need a restart of the "
                "database on a healthy disk"
            )
            self._log.check()
        except OSError as error:
            raise _refused_by_disk(self.folder, error) from None
        else:
            self._log.close()
            self._log = log

    def keep(self, snapshot: Snapshot) -> Path:
        """Put a snapshot on the disk, then drop what it replaces. May run beside `append`."""
        path = self._path(_SNAPSHOT, snapshot.version)
        write_snapshot(path, snapshot)
        for old in (*_files(self.folder, _SNAPSHOT), *_files(self.folder, _LOG)):
            if _version(old) < snapshot.version:
                old.unlink()
        sync_folder(self.folder)
        return path

    def close(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _take_up(self, recovered: Recovered) -> None:
        """Go on writing where what was read ends."""
        try:
            for unfinished in self.folder.glob("*.new"):
                unfinished.unlink()
            if recovered.last_log is not None:
                assert recovered.last_contents is not None
                self._log = Log.resume(recovered.last_log, recovered.last_contents, self._sync)
        except OSError as error:
            raise StateCorrupt(
                f"{self.folder} cannot be written ({error}); see to its permissions, or name another --state"
            ) from None

    def _recovered(self) -> Recovered:
        for reads_left in reversed(range(_READS)):
            try:
                return recover(self.folder, self._stamp, self._dimension)
            except FileNotFoundError:
                continue  # the process that writes here has just replaced a log by a snapshot
            except StateCorrupt:
                # Beside a process that writes, snapshots and logs may be read at different moments.
                if self._lock is not None or not reads_left:
                    raise
            except OSError as error:
                raise StateCorrupt(
                    f"{self.folder} cannot be read ({error}); see to its permissions"
                ) from None
        raise StateCorrupt(
            f"{self.folder} changes faster than it can be read; start again, or name a --state"
        )

    def _first_log(self, version: int) -> Log:
        """The first log of a folder, made when the first write comes."""
        try:
            if self._lock is None:
                if self.folder.is_dir() and _files(self.folder, _LOG):
                    raise Refused(409, "read_only", _ELSEWHERE.format(folder=self.folder))
                self.folder.mkdir(parents=True, exist_ok=True)
                for made in (self.folder.parent, self.folder.parent.parent):
                    sync_folder(made)
                self._lock = FolderLock.take(self.folder)
            if self._lock is None or _files(self.folder, _LOG):
                raise Refused(409, "read_only", _ELSEWHERE.format(folder=self.folder))
            self._log = Log.create(self._path(_LOG, version), self._stamp, version, self._sync)
        except OSError as error:
            raise _refused_by_disk(self.folder, error) from None
        return self._log

    def _path(self, prefix: str, version: int) -> Path:
        return self.folder / f"{prefix}{version:020d}"


def _files(folder: Path, prefix: str) -> list[Path]:
    """Logs or snapshots by version; what was being made when a process died does not count."""
    return sorted(path for path in folder.glob(f"{prefix}*") if path.name.removeprefix(prefix).isdigit())


def _version(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def _decoded(payload: bytes, dimension: int, path: Path) -> Operation:
    try:
        return decode(payload, dimension)
    except ValueError as error:
        raise StateCorrupt(
            f"{path} holds a record that is not a write ({error}); restore it from a copy"
        ) from None


def _refused_by_disk(folder: Path, error: OSError) -> Refused:
    message = f"{folder} cannot be written ({error.strerror}); make room, or name another --state"
    return Refused(507, "disk_refuses", message)


def _stranger(path: Path, stamp: str, version: int) -> str:
    return (
        f"{path} says that it belongs to corpus {stamp[:12]}…, version {version}, which is not what its "
        "name and folder say; move it back to where it came from"
    )
