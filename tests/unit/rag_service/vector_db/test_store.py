"""The folder of writes: recovery takes everything that was acknowledged or refuses, and has one writer."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from rag_service.corpus.document import CorpusError
from rag_service.vector_db import store as store_module
from rag_service.vector_db.errors import Refused, StateCorrupt
from rag_service.vector_db.log import Log
from rag_service.vector_db.operations import Delete, Upsert
from rag_service.vector_db.snapshot import Snapshot, read_snapshot, write_snapshot
from rag_service.vector_db.store import Store, recover

STAMP = "cd" * 32
OTHER = "ef" * 32


def _store(folder: Path) -> Store:
    return Store(folder / "writes", STAMP, 3)


def _upsert(point_id: str) -> Upsert:
    return Upsert((point_id,), np.ones((1, 3), dtype=np.float32), (b"{}",))


def _snapshot(version: int, stamp: str = STAMP) -> Snapshot:
    written = Upsert(("a", "b"), np.eye(2, 3, dtype=np.float32), (b'{"n": 1}', b"{}"))
    return Snapshot(stamp, version, written, ("gone",))


def _filled(folder: Path) -> Path:
    """Two writes, a snapshot of them, two more."""
    store = _store(folder)
    assert store.open() is None
    store.append([_upsert("a"), _upsert("b")], 0)
    store.roll(2)
    store.keep(_snapshot(2))
    store.append([Delete(("a",))], 2)
    store.append([_upsert("c")], 3)
    store.close()
    return folder / "writes"


def _names(folder: Path) -> set[str]:
    return {path.name.rstrip("0123456789") + str(int(path.name[-20:])) for path in folder.glob("*-*")}


def test_nothing_is_made_before_the_first_write(tmp_path: Path) -> None:
    """A database that is only searched leaves no trace and needs no writable disk."""
    store = _store(tmp_path)
    assert store.open() is None
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_recovery_is_the_snapshot_and_the_log_after_it(tmp_path: Path) -> None:
    """What the snapshot holds is not done again, and its logs are gone."""
    folder = _filled(tmp_path)
    assert _names(folder) == {"log-2", "snapshot-2"}
    recovered = recover(folder, STAMP, 3)
    assert recovered.snapshot is not None
    assert (recovered.snapshot.version, recovered.version) == (2, 4)
    assert [type(operation) for operation in recovered.operations] == [Delete, Upsert]


def test_a_snapshot_that_never_got_its_name_changes_nothing(tmp_path: Path) -> None:
    """A crash between the new log and the snapshot leaves two logs; both are read."""
    store = _store(tmp_path)
    store.open()
    store.append([_upsert("a")], 0)
    store.roll(1)
    store.append([_upsert("b")], 1)
    (tmp_path / "writes" / f"snapshot-{1:020d}.new").write_bytes(b"half of")
    store.close()
    recovered = recover(tmp_path / "writes", STAMP, 3)
    assert (recovered.snapshot, recovered.version, len(recovered.operations)) == (None, 2, 2)


def test_logs_that_a_snapshot_replaced_but_that_are_still_there_are_skipped(tmp_path: Path) -> None:
    """A crash before the old log was dropped does no write twice."""
    store = _store(tmp_path)
    store.open()
    store.append([_upsert("a"), _upsert("b")], 0)
    store.roll(2)
    store.append([_upsert("c")], 2)
    store.close()
    write_snapshot(tmp_path / "writes" / f"snapshot-{2:020d}", _snapshot(2))
    recovered = recover(tmp_path / "writes", STAMP, 3)
    assert (recovered.version, len(recovered.operations)) == (3, 1)


def _damage(folder: Path, what: str) -> None:
    log, snapshot = folder / f"log-{2:020d}", folder / f"snapshot-{2:020d}"
    match what:
        case "log missing":
            log.unlink()
        case "snapshot missing":
            snapshot.unlink()
        case "log flipped":
            data = bytearray(log.read_bytes())
            data[90] ^= 1
            log.write_bytes(data)
        case "log renamed":
            log.rename(folder / f"log-{3:020d}")
        case "log empty":
            log.write_bytes(b"")
        case "snapshot cut":
            snapshot.write_bytes(snapshot.read_bytes()[:-1])
        case "snapshot empty":
            snapshot.write_bytes(b"")
        case "snapshot renamed":
            snapshot.rename(folder / f"snapshot-{1:020d}")
        case "snapshot of another corpus":
            write_snapshot(snapshot, _snapshot(2, OTHER))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("log missing", "no log of the writes after it"),
        ("snapshot missing", "no record of the versions 1 to 2"),
        ("log flipped", "damaged at byte"),
        ("log renamed", "belongs to corpus"),
        ("log empty", "no whole header"),
        ("snapshot cut", "do not fit their checksum"),
        ("snapshot empty", "do not fit their checksum"),
        ("snapshot renamed", "belongs to corpus"),
        ("snapshot of another corpus", "belongs to corpus"),
    ],
)
def test_a_folder_that_lost_something_is_refused(tmp_path: Path, what: str, said: str) -> None:
    """The message says which file, what is wrong and what to do; exit code 2 follows from its type."""
    folder = _filled(tmp_path)
    recover(folder, STAMP, 3)  # the control: whole before
    _damage(folder, what)
    with pytest.raises(StateCorrupt) as refused:
        _store(tmp_path).open()
    assert said in str(refused.value)
    assert str(folder) in str(refused.value)
    assert isinstance(refused.value, CorpusError)


def test_every_flipped_byte_of_a_snapshot_is_refused(tmp_path: Path) -> None:
    """Its checksum covers all of it."""
    path = tmp_path / "snapshot"
    write_snapshot(path, _snapshot(5))
    data = path.read_bytes()
    assert read_snapshot(path, 3).written.metadata == (b'{"n": 1}', b"{}")
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(StateCorrupt):
            read_snapshot(path, 3)


def test_no_new_log_is_begun_behind_one_with_an_unknown_end(tmp_path: Path) -> None:
    """After a failed sync the refused record may be on the disk; a second log would repeat its version."""
    fail = False

    def sync(_: int) -> None:
        if fail:
            raise OSError(5, "Input/output error")

    store = Store(tmp_path / "writes", STAMP, 3, sync)
    store.open()
    store.append([_upsert("a")], 0)
    fail = True
    with pytest.raises(Refused, match="restart"):
        store.append([_upsert("b")], 1)
    fail = False
    with pytest.raises(Refused, match="restart"):
        store.roll(1)
    store.close()
    assert _names(tmp_path / "writes") == {"log-0"}


def _fail(*_: object) -> None:
    raise OSError(5, "Input/output error")


def test_a_new_log_that_could_not_be_made_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had its name already; writes go on in the old log, and the next start finds one log."""
    store = _store(tmp_path)
    store.open()
    store.append([_upsert("a")], 0)
    with monkeypatch.context() as patch:
        patch.setattr("rag_service.vector_db.durable.sync_folder", _fail)  # after the rename
        with pytest.raises(Refused, match="Input/output error") as refused:
            store.roll(1)
    assert (refused.value.status, refused.value.code) == (507, "disk_refuses")
    assert _names(tmp_path / "writes") == {"log-0"}
    store.append([_upsert("b")], 1)
    store.close()
    assert recover(tmp_path / "writes", STAMP, 3).version == 2


def test_a_new_log_that_could_not_be_made_nor_removed_ends_the_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise two logs would hold the same version, and the next start refuse all of them."""
    store = _store(tmp_path)
    store.open()
    store.append([_upsert("a")], 0)
    with monkeypatch.context() as patch:
        patch.setattr("rag_service.vector_db.durable.sync_folder", _fail)
        patch.setattr(Path, "unlink", _fail_for_logs)
        with pytest.raises(Refused, match="restart"):
            store.roll(1)
    assert _names(tmp_path / "writes") == {"log-0", "log-1"}
    with pytest.raises(Refused, match="restart") as refused:
        store.append([_upsert("b")], 1)
    assert refused.value.code == "log_broken"
    store.close()
    again = _store(tmp_path)
    recovered = again.open()
    assert recovered is not None and recovered.version == 1
    again.append([_upsert("b")], 1)
    again.close()
    assert recover(tmp_path / "writes", STAMP, 3).version == 2


def _fail_for_logs(path: Path, missing_ok: bool = False) -> None:
    if path.suffix != ".new":
        raise OSError(5, "Input/output error")
    if not missing_ok or os.path.lexists(path):
        os.unlink(path)  # noqa: PTH108 - Path.unlink is what fails here


def test_a_first_log_that_could_not_be_made_is_made_at_the_next_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that was full for a moment does not cost the right to write."""
    store = _store(tmp_path)
    store.open()
    real = os.open

    def no_more_files(path: Path, flags: int, *mode: int) -> int:
        if str(path).endswith("0" * 20):
            raise OSError(24, "Too many open files")
        return real(path, flags, *mode)

    with monkeypatch.context() as patch:
        patch.setattr("rag_service.vector_db.log.os.open", no_more_files)
        with pytest.raises(Refused, match="Too many open files"):
            store.append([_upsert("a")], 0)
    store.append([_upsert("a")], 0)
    store.close()
    assert recover(tmp_path / "writes", STAMP, 3).version == 1


def test_two_logs_with_the_same_version_are_refused(tmp_path: Path) -> None:
    """One of the two was acknowledged, and nobody can tell which."""
    store = _store(tmp_path)
    store.open()
    store.append([_upsert("a"), _upsert("b")], 0)
    store.close()
    Log.create(tmp_path / "writes" / f"log-{1:020d}", STAMP, 1).close()
    with pytest.raises(StateCorrupt, match="both hold version 2"):
        recover(tmp_path / "writes", STAMP, 3)


def test_what_was_being_made_when_a_process_died_is_cleared_away(tmp_path: Path) -> None:
    """Half a snapshot is of no use to anybody."""
    folder = _filled(tmp_path)
    (folder / f"snapshot-{4:020d}.new").write_bytes(b"half of")
    store = _store(tmp_path)
    store.open()
    store.close()
    assert list(folder.glob("*.new")) == []


def test_only_one_process_writes_and_the_other_can_still_read(tmp_path: Path) -> None:
    """The second sees what was acknowledged when it came, and is told where to send writes."""
    folder = _filled(tmp_path)
    first, second = _store(tmp_path), _store(tmp_path)
    assert first.open() is not None
    recovered = second.open()
    assert recovered is not None and recovered.version == 4
    with pytest.raises(Refused, match="another process") as refused:
        second.append([_upsert("d")], 4)
    assert (refused.value.status, refused.value.code) == (409, "read_only")
    first.append([_upsert("d")], 4)
    first.close()
    assert recover(folder, STAMP, 3).version == 5


def test_a_failed_start_gives_the_right_to_write_back(tmp_path: Path) -> None:
    """A reload that fails leaves the process running; once the folder is mended, writes go on."""
    folder = _filled(tmp_path)
    log = folder / f"log-{2:020d}"
    whole = log.read_bytes()
    _damage(folder, "log flipped")
    failed = _store(tmp_path)
    with pytest.raises(StateCorrupt):
        failed.open()
    log.write_bytes(whole)
    store = _store(tmp_path)
    store.open()
    store.append([_upsert("d")], 4)
    store.close()
    assert recover(folder, STAMP, 3).version == 5


def test_a_reader_does_not_cut_what_the_writer_is_writing(tmp_path: Path) -> None:
    """Half a record belongs to the process that holds the lock; only that one may cut."""
    folder = _filled(tmp_path)
    log = folder / f"log-{2:020d}"
    first, second = _store(tmp_path), _store(tmp_path)
    first.open()
    with log.open("ab") as file:
        file.write(b"\x07\x00")
    size = log.stat().st_size
    second.open()
    assert log.stat().st_size == size
    first.close()
    second.close()
    third = _store(tmp_path)
    third.open()
    assert log.stat().st_size == size - 2
    third.close()


def test_a_reader_that_starts_while_a_snapshot_is_made_reads_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshots of one moment and the logs of the next do not fit, and nothing is damaged."""
    writer, reader = _store(tmp_path), _store(tmp_path)
    writer.open()
    writer.append([_upsert("a"), _upsert("b")], 0)
    files = store_module._files
    made: list[str] = []

    def between(of: Path, prefix: str) -> list[Path]:
        found = files(of, prefix)
        if prefix == "snapshot-" and not made:
            made.append("the first snapshot, after the reader looked for one")
            writer.roll(2)
            writer.keep(_snapshot(2))
            writer.append([_upsert("c")], 2)
        return found

    monkeypatch.setattr(store_module, "_files", between)
    recovered = reader.open()
    assert made and recovered is not None
    assert (recovered.version, len(recovered.operations)) == (3, 1)
    writer.close()
    reader.close()
    assert _names(tmp_path / "writes") == {"log-2", "snapshot-2"}


def test_a_reader_of_a_damaged_folder_is_told_so(tmp_path: Path) -> None:
    """Reading again is for what changes; what stays damaged is refused, to a reader as to a writer."""
    folder = _filled(tmp_path)
    writer = _store(tmp_path)
    writer.open()
    _damage(folder, "log flipped")
    with pytest.raises(StateCorrupt, match="damaged at byte"):
        _store(tmp_path).open()
    writer.close()


def test_two_that_saw_an_empty_folder_do_not_both_begin_a_log(tmp_path: Path) -> None:
    """The one that is late would otherwise write over acknowledged versions."""
    first, second = _store(tmp_path), _store(tmp_path)
    assert first.open() is second.open() is None
    first.append([_upsert("a")], 0)
    first.close()
    with pytest.raises(Refused, match="another process"):
        second.append([_upsert("b")], 0)


def test_a_folder_that_cannot_be_written_is_said_at_the_write(tmp_path: Path) -> None:
    """Searches are not affected; the write is refused with what to do."""
    (tmp_path / "file").write_text("where a folder should be")
    store = Store(tmp_path / "file" / "writes", STAMP, 3)
    assert store.open() is None
    with pytest.raises(Refused, match="name another --state") as refused:
        store.append([_upsert("a")], 0)
    assert refused.value.status == 507
