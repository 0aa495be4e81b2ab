"""What dead runs left, in every state that a crash can leave a bundle in, before the next run starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chaos.clock import SystemClock
from chaos.errors import RunRefused
from chaos.run.journal import Journal, outstanding_undos, read
from chaos.safety.leftovers import clear_leftovers
from chaos.safety.rollback import rollback
from chaos.stack.description import PartRecord, StackDescription
from chaos.stack.process import MARK, ProcessIdentity, spawned

ME = ProcessIdentity.of_this_process()
LONG_GONE = ProcessIdentity(ME.pid, ME.created_s - 60)
GONE = {"do": "remove_toxic", "api": "http://127.0.0.1:9", "proxy": "vector_db", "toxic": "slow"}
UNKNOWN = {"do": "something of a later version"}


def bundle_at(
    runs: Path, name: str, *, runner: ProcessIdentity = LONG_GONE, **parts: ProcessIdentity
) -> Path:
    bundle = runs / name
    bundle.mkdir(parents=True)
    records = {part: PartRecord(pid=one.pid, created_s=one.created_s) for part, one in parts.items()}
    records["runner"] = PartRecord(pid=runner.pid, created_s=runner.created_s)
    StackDescription(parts=records).write(bundle / "stack.json")
    return bundle


def write(bundle: Path, *events: dict[str, Any]) -> None:
    with Journal(bundle / "journal.jsonl") as journal:
        for event in events:
            journal.append(**event)


def declared(undo: dict[str, Any] = GONE) -> dict[str, Any]:
    return {"event": "undo.declared", "fault": "slow", "undo": undo}


def cleared(runs: Path) -> tuple[list[str], str]:
    """The bundles that were cleaned up behind, and what was said."""
    said: list[str] = []
    reports = clear_leftovers(runs, said.append, SystemClock())
    return [report.bundle.name for report in reports], "\n".join(said)


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A part whose runner is gone; only its mark says to which bundle it belongs."""
    environment = {**os.environ, MARK: str(tmp_path / "runs" / "a" / "stack.json")}
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=environment
    ) as process:
        yield process
        process.kill()


def test_a_fault_that_nobody_undid_is_undone_and_told(tmp_path: Path) -> None:
    """As `ragquake rollback` would; after that there is nothing left to find."""
    bundle = bundle_at(tmp_path, "a")
    write(bundle, declared())
    names, said = cleared(tmp_path)
    assert (names == ["a"] and "slow" in said and str(bundle) in said) or "slow" in said
    assert outstanding_undos(read(bundle / "journal.jsonl")) == []
    before = (bundle / "journal.jsonl").read_bytes()
    assert cleared(tmp_path) == ([], "")
    assert rollback(bundle).nothing_to_do
    assert (bundle / "journal.jsonl").read_bytes() == before


def test_a_part_that_nobody_stopped_is_stopped(tmp_path: Path, orphan: subprocess.Popen[bytes]) -> None:
    """Recorded or not, and with a journal that says all went well."""
    bundle = bundle_at(tmp_path / "runs", "a", service=spawned(orphan))
    write(bundle, {"event": "run.finished", "status": "completed"})
    assert cleared(tmp_path / "runs")[0] == ["a"]
    assert orphan.wait(30) is not None


def test_a_part_that_no_record_names_is_found_by_its_mark(
    tmp_path: Path, orphan: subprocess.Popen[bytes]
) -> None:
    """A runner that was killed between starting a part and writing it down."""
    bundle_at(tmp_path / "runs", "a")
    assert cleared(tmp_path / "runs")[0] == ["a"]
    assert orphan.wait(30) is not None


def test_a_run_that_is_under_way_is_left_alone(tmp_path: Path, orphan: subprocess.Popen[bytes]) -> None:
    """Somebody else's, with another state folder and the same runs folder."""
    bundle = bundle_at(tmp_path / "runs", "a", runner=ME, service=spawned(orphan))
    write(bundle, declared())
    assert cleared(tmp_path / "runs") == ([], "")
    assert orphan.poll() is None


def test_a_fault_that_cannot_be_undone_keeps_the_next_run_out(tmp_path: Path) -> None:
    """It may still be in, and would be measured; the message names the bundle and the way on."""
    write(bundle_at(tmp_path, "a"), declared(UNKNOWN))
    with pytest.raises(RunRefused, match=rf"cannot be undone.*delete {tmp_path / 'a'}"):
        cleared(tmp_path)


def test_a_run_that_ended_in_error_is_looked_at_again(tmp_path: Path) -> None:
    """Its last line says that it finished, and not that all was undone."""
    write(bundle_at(tmp_path, "a"), declared(), {"event": "run.finished", "status": "error"})
    assert cleared(tmp_path)[0] == ["a"]


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"\0" * 4096, b'{"event": 7}\n', b"[]\n", b'"event":"run.finished"']
)
@pytest.mark.parametrize("file", ["journal.jsonl", "stack.json"])
def test_a_damaged_bundle_keeps_nobody_out(tmp_path: Path, damage: bytes, file: str) -> None:
    """A crash at any byte, or a file of somebody else: no traceback, and the other bundles are looked at."""
    bundle = bundle_at(tmp_path, "a")
    write(bundle, {"event": "run.started"})
    (bundle / file).write_bytes(damage)
    write(bundle_at(tmp_path, "b"), declared())
    assert cleared(tmp_path)[0] == ["b"]


def test_a_line_that_was_cut_off_hides_no_fault(tmp_path: Path) -> None:
    """The undo is on the disk before the fault; what follows may be torn."""
    bundle = bundle_at(tmp_path, "a")
    write(bundle, declared())
    with (bundle / "journal.jsonl").open("ab") as file:
        file.write(json.dumps({"event": "fault.verified_gone", "fault": "slow"}).encode()[:-3])
    assert cleared(tmp_path)[0] == ["a"]


def test_what_is_no_bundle_is_not_touched(tmp_path: Path) -> None:
    """Runs lie in a folder that may hold anything; a folder that is not there yet holds nothing."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "latest").symlink_to("nowhere")
    assert cleared(tmp_path) == ([], "")
    assert cleared(tmp_path / "missing") == ([], "")


def test_the_stack_of_a_campaign_that_died_between_two_runs_is_found(tmp_path: Path) -> None:
    """It belongs to no run at that moment."""
    write(bundle_at(tmp_path / "x.campaign", "stack-1"), declared())
    assert cleared(tmp_path)[0] == ["stack-1"]
