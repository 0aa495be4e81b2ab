"""The journal: what is on disk after a crash, and who must undo what."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chaos.run.journal import Journal, outstanding_undos, read


class FixedClock:
    """A clock that stands still."""

    def unix_s(self) -> float:
        return 1000.25

    def monotonic_s(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"a journal never waits ({seconds} s)")


def test_a_fact_is_readable_with_its_time(tmp_path: Path) -> None:
    """A line carries when it was written, what happened and the facts."""
    with Journal(tmp_path / "j", FixedClock()) as journal:
        journal.append("phase.started", phase="spike")

    assert read(tmp_path / "j") == [{"at_s": 1000.25, "event": "phase.started", "phase": "spike"}]


def test_a_journal_cut_at_any_byte_keeps_every_whole_line(tmp_path: Path) -> None:
    """A crash at any byte costs at most the line that was being written."""
    path = tmp_path / "j"
    with Journal(path, FixedClock()) as journal:
        for number in range(3):
            journal.append("phase.started", phase=f"phase-{number}")
    whole = path.read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]

    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        complete = sum(end - 1 <= cut for end in ends)
        assert len(read(path)) == complete


def test_writing_on_after_a_torn_line_does_not_glue_two_lines(tmp_path: Path) -> None:
    """Whoever takes over after a crash starts on a line of its own."""
    path = tmp_path / "j"
    path.write_bytes(b'{"at_s":1,"event":"run.started"}\n{"at_s":2,"eve')

    with Journal(path, FixedClock()) as journal:
        journal.append("rollback.started", by="warden")

    assert [entry["event"] for entry in read(path)] == ["run.started", "rollback.started"]


def test_a_declared_undo_is_outstanding_until_its_fault_was_seen_to_be_gone() -> None:
    """Removing is not enough: only a verified removal clears an undo."""
    declared = {"event": "undo.declared", "fault": "slow", "undo": {"do": "enable"}}
    removed = {"event": "fault.removed", "fault": "slow"}
    gone = {"event": "fault.verified_gone", "fault": "slow"}

    assert [one.fault for one in outstanding_undos([declared])] == ["slow"]
    assert [one.fault for one in outstanding_undos([declared, removed])] == ["slow"]
    assert outstanding_undos([declared, removed, gone]) == []


def test_undos_come_in_reverse_order() -> None:
    """What was done last is undone first."""
    entries = [{"event": "undo.declared", "fault": name, "undo": {}} for name in ("a", "b", "c")]

    assert [one.fault for one in outstanding_undos(entries)] == ["c", "b", "a"]


def test_a_finished_rollback_clears_what_it_undid() -> None:
    """A second rollback finds nothing left to do."""
    entries = [
        {"event": "undo.declared", "fault": "a", "undo": {}},
        {"event": "undo.declared", "fault": "b", "undo": {}},
        {"event": "rollback.finished", "by": "warden", "undone": ["a"]},
    ]

    assert [one.fault for one in outstanding_undos(entries)] == ["b"]


def test_half_a_line_is_no_fact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk takes what fits: who wrote is told, with the file, and the next line stands on its own."""
    path, write = tmp_path / "j", os.write
    with Journal(path, FixedClock()) as journal:
        journal.append("phase.started", phase="spike")
        monkeypatch.setattr(os, "write", lambda fd, line: write(fd, line[:20]))
        with pytest.raises(OSError, match="No space left") as told:
            journal.append("undo.declared", fault="slow", undo={})
        monkeypatch.setattr(os, "write", write)
        assert told.value.filename == str(path)
        journal.append("phase.ended", phase="spike")
    assert [entry["event"] for entry in read(path)] == ["phase.started", "phase.ended"]
