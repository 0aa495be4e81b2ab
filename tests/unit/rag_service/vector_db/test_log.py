"""The write-ahead log: acknowledged is read back, unfinished is cut, damaged is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_service.vector_db.errors import Refused, StateCorrupt
from rag_service.vector_db.log import HEADER_BYTES, RECORD_BYTES, Log, parse_log, read_log

STAMP = "ab" * 32
PAYLOADS = [b"first", b"", b"\x00" * 9, b"the last one"]
SOMEWHERE = Path("log-0")


def _written(folder: Path, payloads: list[bytes], version: int = 7) -> bytes:
    log = Log.create(folder / "log", STAMP, version)
    for payload in payloads:
        log.append([payload])
    log.close()
    return (folder / "log").read_bytes()


def _ends(payloads: list[bytes]) -> list[int]:
    ends = [HEADER_BYTES]
    for payload in payloads:
        ends.append(ends[-1] + RECORD_BYTES + len(payload))
    return ends


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    """Stamp, versions without a gap, payloads, and nothing left over."""
    contents = parse_log(_written(tmp_path, PAYLOADS), SOMEWHERE)
    assert [record.payload for record in contents.records] == PAYLOADS
    assert [record.version for record in contents.records] == [8, 9, 10, 11]
    assert (contents.stamp, contents.start_version, contents.version) == (STAMP, 7, 11)
    assert contents.torn_bytes == 0


def test_every_cut_of_the_tail_keeps_exactly_the_whole_records(tmp_path: Path) -> None:
    """Wherever a process dies while it writes, all that it acknowledged is read and the rest is cut."""
    data, ends = _written(tmp_path, PAYLOADS), _ends(PAYLOADS)
    assert ends[-1] == len(data)
    for size in range(HEADER_BYTES, len(data) + 1):
        contents = parse_log(data[:size], SOMEWHERE)
        whole = sum(end <= size for end in ends) - 1
        assert [record.payload for record in contents.records] == PAYLOADS[:whole], size
        assert contents.good_bytes == ends[whole]
        assert contents.torn_bytes == size - ends[whole]


def test_every_flipped_bit_is_refused_with_where_and_what_to_do(tmp_path: Path) -> None:
    """No change to an acknowledged record, its length or the header passes for a torn tail or for data."""
    data = _written(tmp_path, PAYLOADS)
    for position in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            with pytest.raises(StateCorrupt) as refused:
                parse_log(bytes(damaged), SOMEWHERE)
            assert "log-0" in str(refused.value)
            assert "restore" in str(refused.value)


@given(payloads=st.lists(st.binary(max_size=60), max_size=6), data=st.data())
def test_any_log_survives_any_cut_and_no_flipped_byte(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], data: st.DataObject
) -> None:
    """The two rules above hold for any payloads, such as ones that look like records."""
    written = _written(tmp_path_factory.mktemp("log"), payloads)
    size = data.draw(st.integers(HEADER_BYTES, len(written)))
    kept = [record.payload for record in parse_log(written[:size], SOMEWHERE).records]
    assert kept == payloads[: sum(end <= size for end in _ends(payloads)) - 1]
    position = data.draw(st.integers(0, len(written) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != written[position]))
    with pytest.raises(StateCorrupt):
        parse_log(written[:position] + bytes([value]) + written[position + 1 :], SOMEWHERE)


@pytest.mark.parametrize("size", [0, 1, HEADER_BYTES - 1])
def test_a_log_without_a_whole_header_is_refused(tmp_path: Path, size: int) -> None:
    """A header is on the disk before the log has its name, so less than one is damage."""
    with pytest.raises(StateCorrupt, match="no whole header"):
        parse_log(_written(tmp_path, [])[:size], SOMEWHERE)


def test_zeros_after_a_power_cut_are_a_torn_tail(tmp_path: Path) -> None:
    """A file that was made longer before its bytes arrived ends in zeros; no record looks like that."""
    contents = parse_log(_written(tmp_path, PAYLOADS) + bytes(500), SOMEWHERE)
    assert len(contents.records) == len(PAYLOADS)
    assert contents.torn_bytes == 500


def test_a_repeated_record_is_refused(tmp_path: Path) -> None:
    """A record that is whole but stands in the wrong place shows by its version."""
    data, ends = _written(tmp_path, PAYLOADS), _ends(PAYLOADS)
    with pytest.raises(StateCorrupt, match="has version 8"):
        parse_log(data[: ends[1]] + data[ends[0] : ends[1]], SOMEWHERE)


def test_a_resumed_log_goes_on_where_the_whole_records_end(tmp_path: Path) -> None:
    """The torn tail is gone from the file, so that the next record does not stand behind garbage."""
    data = _written(tmp_path, PAYLOADS)
    path = tmp_path / "log"
    path.write_bytes(data[:-3])
    log = Log.resume(path, read_log(path))
    log.append([b"again", b"and more"])
    log.close()
    assert [record.payload for record in read_log(path).records] == [*PAYLOADS[:-1], b"again", b"and more"]


@pytest.mark.parametrize("torn", [b"", b"half a record"])
def test_what_a_resumed_log_holds_is_put_on_the_disk_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: bytes
) -> None:
    """What was read may be in memory only, which no sync of the old file tells: a fresh file is synced."""
    path = tmp_path / "log"
    data = _written(tmp_path, PAYLOADS)
    path.write_bytes(data + torn)
    before = path.stat().st_ino
    synced: dict[int, int] = {}

    def sync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        synced[status.st_ino] = status.st_size

    monkeypatch.setattr("rag_service.vector_db.durable.sync_data", sync)
    with path.open("rb"):  # so that its number is not given to the next file
        Log.resume(path, read_log(path)).close()
        after = path.stat().st_ino
    assert after != before
    assert synced == {after: len(data)}
    assert path.read_bytes() == data


def test_a_log_that_cannot_be_put_on_the_disk_anew_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk at the start: what was read is served, writes are refused, the file stays whole."""
    data = _written(tmp_path, PAYLOADS)
    path = tmp_path / "log"

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rag_service.vector_db.durable.sync_data", full)
    log = Log.resume(path, read_log(path))
    with pytest.raises(Refused, match=r"No space left on device.*restart") as refused:
        log.append([b"more"])
    assert (refused.value.status, refused.value.code) == (503, "log_broken")
    log.close()
    assert path.read_bytes() == data
    assert [item.name for item in tmp_path.iterdir()] == ["log"]


def test_an_append_is_synced_before_it_returns_once_for_all_its_records(tmp_path: Path) -> None:
    """At the sync everything is in the file; a group of writes costs one sync."""
    seen: list[int] = []

    def sync(descriptor: int) -> None:
        seen.append(os.fstat(descriptor).st_size)

    log = Log.create(tmp_path / "log", STAMP, 0, sync)
    log.append([b"one", b"two", b"three"])
    assert seen == [log.size] == [(tmp_path / "log").stat().st_size]
    log.close()


def test_a_full_disk_refuses_the_write_and_keeps_the_log_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written of the refused record is taken back, and the next write works."""
    log = Log.create(tmp_path / "log", STAMP, 0)
    log.append([b"before"])

    def short(descriptor: int, data: bytes, offset: int) -> None:
        os.pwrite(descriptor, data[:5], offset)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("rag_service.vector_db.log.write_all", short)
        with pytest.raises(Refused, match="make room") as refused:
            log.append([b"too much"])
    assert refused.value.status == 507
    log.append([b"after"])
    log.close()
    assert [record.payload for record in read_log(tmp_path / "log").records] == [b"before", b"after"]


def test_after_a_failed_sync_nothing_is_acknowledged_any_more(tmp_path: Path) -> None:
    """A later sync may claim success for bytes that the disk never got, so writes end until a restart."""
    fail = False

    def sync(_: int) -> None:
        if fail:
            raise OSError(5, "Input/output error")

    log = Log.create(tmp_path / "log", STAMP, 0, sync)
    log.append([b"before"])
    fail = True
    with pytest.raises(Refused, match="restart"):
        log.append([b"lost?"])
    fail = False
    with pytest.raises(Refused, match="restart") as refused:
        log.append([b"after"])
    assert (refused.value.status, refused.value.code) == (503, "log_broken")
    log.close()
