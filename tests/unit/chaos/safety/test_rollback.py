"""The rules of rolling back, on bundles whose processes are long gone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.clock import SystemClock
from chaos.errors import RunRefused
from chaos.processes import ProcessFaultError
from chaos.run.journal import Journal, outstanding_undos, read
from chaos.safety.leftovers import clear_leftovers
from chaos.safety.rollback import rollback
from chaos.stack.description import PartRecord, ProxyRecord, StackDescription
from chaos.stack.errors import StackError
from chaos.stack.ports import reserve_port
from chaos.stack.process import MARK, ProcessIdentity
from chaos.stack.stack_file import StackFile

NOBODY = 2**22 + 1


def _bundle(tmp_path: Path, api: str, *, owned: bool = True, runner: ProcessIdentity | None = None) -> Path:
    """A bundle whose runner died in the fault phase."""
    parts = {"proxy": PartRecord(url=api, pid=NOBODY, created_s=1.0)}
    if runner:
        parts["runner"] = PartRecord(pid=runner.pid, created_s=runner.created_s)
    proxy = ProxyRecord(kind="toxiproxy", version="2.12.0", api=api, why="a test", owned=owned)
    StackDescription(proxy=proxy, parts=parts).write(tmp_path / "stack.json")
    with Journal(tmp_path / "journal.jsonl") as journal:
        undo = {"do": "remove_toxic", "api": api, "proxy": "vector_db", "toxic": "slow"}
        journal.append("undo.declared", fault="slow-vector-db", undo=undo)
        journal.append(
            "fault.injected", fault="slow-vector-db", on="vector_db", kind="latency", parameters={}
        )
    return tmp_path


def _dead_api() -> str:
    return f"http://127.0.0.1:{reserve_port()}"


def test_an_outstanding_fault_is_undone_and_the_journal_says_so(tmp_path: Path) -> None:
    """A fault whose own proxy has ended is gone with it; afterwards nothing is outstanding."""
    report = rollback(_bundle(tmp_path, _dead_api()))
    assert report.clean and [fault.fault for fault in report.faults] == ["slow-vector-db"]
    entries = read(tmp_path / "journal.jsonl")
    assert outstanding_undos(entries) == []
    assert [entry["event"] for entry in entries][-4:] == [
        *("rollback.started", "fault.removed", "fault.verified_gone", "rollback.finished"),
    ]
    assert entries[-1]["by"] == "ragquake rollback" and entries[-1]["undone"] == ["slow-vector-db"]


def test_a_second_rollback_changes_nothing(tmp_path: Path) -> None:
    """Rolling back twice leaves the bundle byte for byte as after the first time."""
    bundle = _bundle(tmp_path, _dead_api())
    rollback(bundle)
    before = (bundle / "journal.jsonl").read_bytes()
    report = rollback(bundle)
    assert report.nothing_to_do
    assert "no fault is outstanding" in report.sentence()
    assert (bundle / "journal.jsonl").read_bytes() == before


def test_a_bundle_whose_runner_lives_is_refused(tmp_path: Path) -> None:
    """Nobody pulls the stack away under a run, unless forced; the message says whom to stop."""
    me = ProcessIdentity.of_this_process()
    bundle = _bundle(tmp_path, _dead_api(), runner=me)
    before = (bundle / "journal.jsonl").read_bytes()
    with pytest.raises(RunRefused, match=f"kill -INT {me.pid}"):
        rollback(bundle)
    assert (bundle / "journal.jsonl").read_bytes() == before
    assert rollback(bundle, force=True).clean


def test_a_runner_pid_that_belongs_to_a_stranger_does_not_refuse(tmp_path: Path) -> None:
    """Only the same pid with the same creation time is the living runner."""
    me = ProcessIdentity.of_this_process()
    bundle = _bundle(tmp_path, _dead_api(), runner=ProcessIdentity(me.pid, me.created_s - 100))
    assert rollback(bundle).clean


def test_an_undo_that_cannot_be_read_stays_outstanding(tmp_path: Path) -> None:
    """A rollback that could not undo a fault says so and does not claim it in the journal."""
    bundle = _bundle(tmp_path, _dead_api())
    with Journal(bundle / "journal.jsonl") as journal:
        journal.append("undo.declared", fault="odd", undo={"do": "pray"})
    report = rollback(bundle)
    assert not report.clean
    assert "pray" in report.sentence()
    assert [left.fault for left in outstanding_undos(read(bundle / "journal.jsonl"))] == ["odd"]


def test_a_damaged_stack_file_does_not_keep_faults_in(tmp_path: Path) -> None:
    """Faults are undone from the journal alone; the damage is reported."""
    bundle = _bundle(tmp_path, _dead_api())
    (bundle / "stack.json").write_text('{"schema": "ragqu')
    report = rollback(bundle)
    assert all(fault.done for fault in report.faults) and report.faults
    assert not report.clean and "stack.json" in report.sentence()


def test_no_such_bundle_is_an_error_with_a_lead(tmp_path: Path) -> None:
    """A wrong path is named, and where bundles are."""
    with pytest.raises(StackError, match="runs"):
        rollback(tmp_path / "nowhere")


def test_a_fault_on_processes_is_gone_with_its_processes(tmp_path: Path) -> None:
    """A dead proxy takes its toxics with it, but no hog and no paused part: they have their own records."""
    bundle = _bundle(tmp_path, _dead_api())
    nobody = [{"pid": NOBODY, "created_s": 1.0}]
    with Journal(bundle / "journal.jsonl") as journal:
        for do in ("resume", "end", "start_part"):
            journal.append("undo.declared", fault=do, undo={"do": do, "part": "llm", "processes": nobody})
    report = rollback(bundle)
    said = {fault.fault: fault.message for fault in report.faults}
    assert report.clean and list(said) == ["start_part", "end", "resume", "slow-vector-db"]
    assert "the fault proxy that held it" not in said["end"] + said["resume"] + said["start_part"]
    assert rollback(bundle).nothing_to_do


def test_a_record_of_processes_that_cannot_be_read_stays_outstanding(tmp_path: Path) -> None:
    """A hog may still be there; the report says which record it was."""
    bundle = _bundle(tmp_path, _dead_api())
    with Journal(bundle / "journal.jsonl") as journal:
        journal.append("undo.declared", fault="hog", undo={"do": "end", "processes": [{"pid": "all"}]})
    report = rollback(bundle)
    assert not report.clean and "cannot be read" in report.sentence()
    assert [left.fault for left in outstanding_undos(read(bundle / "journal.jsonl"))] == ["hog"]


def test_an_undo_that_failed_is_made_good_when_its_process_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be resumed or ended in time is gone once the stack is."""
    bundle = _bundle(tmp_path, _dead_api())
    undo = {"do": "end", "part": "llm", "processes": [{"pid": NOBODY, "created_s": 1.0}]}
    with Journal(bundle / "journal.jsonl") as journal:
        journal.append("undo.declared", fault="hog", undo=undo)

    def refuse(_undo: object, _timeout_s: float) -> str:
        raise ProcessFaultError("it would not")

    monkeypatch.setattr("chaos.safety.rollback.perform", refuse)
    report = rollback(bundle)
    assert report.clean
    assert "the process that it was done to has ended" in report.sentence()


@pytest.fixture
def lent(tmp_path: Path) -> Iterator[Lent]:
    """A stack of one part, lent to a run that has brought one process of its own."""
    one = Lent(tmp_path / "two.campaign" / "stack-1", tmp_path / "run")
    yield one
    for process in (one.part, one.brought, one.stray):
        process.kill()
        process.wait()


class Lent:
    """Processes that only wait, recorded as those of a stack and of the run that has it."""

    def __init__(self, home: Path, run: Path) -> None:
        self.home, self.run = home, run
        file = StackFile(home)
        file.lend(run)
        self.part = self._start(file.path)
        file.record_part("service", PartRecord.of(ProcessIdentity.of(self.part.pid)))
        self.brought = self._start(file.current)
        file.record_brought("journeys", PartRecord.of(ProcessIdentity.of(self.brought.pid)))
        self.stray = self._start(file.path)  # started again in the instant in which the runner was killed

    def _start(self, mark: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: str(mark)})

    def running(self) -> list[bool]:
        return [process.poll() is None for process in (self.part, self.brought, self.stray)]


def test_from_the_runs_bundle_the_lent_stack_is_stopped(lent: Lent) -> None:
    """The run's own files suffice to stop everything, the stack's unrecorded processes too."""
    assert rollback(lent.run).clean
    assert lent.running() == [False, False, False]


def test_from_the_stacks_folder_the_borrower_is_rolled_back_first(lent: Lent) -> None:
    """The stack's own files suffice, too, for what the run has started and what it has done."""
    with Journal(lent.run / "journal.jsonl") as journal:
        journal.append(
            "undo.declared",
            fault="gone",
            undo={"do": "end", "processes": [{"pid": NOBODY, "created_s": 1.0}]},
        )
    report = rollback(lent.home)
    assert report.clean and [fault.fault for fault in report.faults] == ["gone"]
    assert lent.running() == [False, False, False]
    assert outstanding_undos(read(lent.run / "journal.jsonl")) == []


def test_a_stack_that_goes_on_is_left_alone(lent: Lent) -> None:
    """The runner ends what the run has brought; the stack serves the next run."""
    report = rollback(lent.run, by="runner", stack_goes_on=True)
    assert report.clean and report.stopped == ("journeys",)
    assert lent.running() == [True, False, True]


def test_a_full_disk_keeps_nobody_from_undoing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault is undone although no journal can tell of it; later it is found to be undone already."""
    bundle, write = _bundle(tmp_path, _dead_api()), os.write

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    report = rollback(bundle)
    monkeypatch.setattr(os, "write", write)
    assert report.clean and [fault.fault for fault in report.faults] == ["slow-vector-db"]
    assert len(outstanding_undos(read(bundle / "journal.jsonl"))) == 1
    assert rollback(bundle).clean
    assert outstanding_undos(read(bundle / "journal.jsonl")) == []


def test_the_next_run_ends_what_is_left_of_a_lent_stack(lent: Lent) -> None:
    """Also when nothing is left but a process that no record names: its mark leads to the run."""
    for process in (lent.part, lent.brought):
        process.kill()
        process.wait()
    said: list[str] = []
    [report] = clear_leftovers(lent.run.parent, said.append, SystemClock())
    assert report.clean and report.strays == 1
    assert "had left something behind" in said[0] and report.bundle.name in said[0]
    assert lent.running() == [False, False, False]
