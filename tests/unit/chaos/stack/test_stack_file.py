"""What stands in stack.json while a stack serves one run after another."""

from __future__ import annotations

from pathlib import Path

from chaos.stack.description import FILE_NAME, PartRecord, StackDescription, read_description
from chaos.stack.stack_file import StackFile


def _read(folder: Path) -> StackDescription:
    found = read_description(folder / FILE_NAME)
    assert found is not None
    return found


def test_without_a_borrower_all_is_in_one_file(tmp_path: Path) -> None:
    """A stack of one run records the run's own processes among its parts."""
    file = StackFile(tmp_path)
    file.record_part("service", PartRecord(pid=1, created_s=1.0))
    file.record_brought("journeys", PartRecord(pid=2, created_s=1.0))
    assert set(_read(tmp_path).parts) == {"service", "journeys"}
    assert file.current == tmp_path / FILE_NAME
    file.forget("journeys")
    assert set(_read(tmp_path).parts) == {"service"} and _read(tmp_path).lent_to is None


def test_the_borrower_has_everything_and_the_lender_what_is_its_own(tmp_path: Path) -> None:
    """Each file suffices to stop what stands in it, and each leads to the other."""
    home, run = tmp_path / "stack-1", tmp_path / "run"
    file = StackFile(home)
    file.lend(run)
    assert read_description(run / FILE_NAME) is not None, "before the first process is started"
    file.record_part("service", PartRecord(pid=1, created_s=1.0))
    file.record_brought("journeys", PartRecord(pid=2, created_s=1.0))
    assert set(_read(run).parts) == {"service", "journeys"}
    assert set(_read(home).parts) == {"service"}
    assert _read(run).lent_by == str(home / FILE_NAME) and _read(home).lent_to == str(run)
    assert _read(run).lent_to is None and file.current == run / FILE_NAME


def test_what_changes_in_the_stack_changes_in_the_borrowers_file(tmp_path: Path) -> None:
    """A part that a fault has started anew is another process, in both files."""
    home, run = tmp_path / "stack-1", tmp_path / "run"
    file = StackFile(home)
    file.record_part("service", PartRecord(pid=1, created_s=1.0))
    file.lend(run)
    file.record_part("service", PartRecord(pid=9, created_s=2.0))
    file.description.versions["faiss-cpu"] = "1"
    file.write()
    for folder in (home, run):
        assert _read(folder).parts["service"].pid == 9 and _read(folder).versions == {"faiss-cpu": "1"}


def test_the_next_borrower_gets_nothing_of_the_last(tmp_path: Path) -> None:
    """A run's file stays as it was at its end; the next one's has the stack and nothing more."""
    file = StackFile(tmp_path / "stack-1")
    file.record_part("service", PartRecord(pid=1, created_s=1.0))
    file.lend(tmp_path / "first")
    file.record_brought("journeys", PartRecord(pid=2, created_s=1.0))
    file.take_back()
    first = (tmp_path / "first" / FILE_NAME).read_bytes()
    assert _read(tmp_path / "stack-1").lent_to is None
    file.lend(tmp_path / "second")
    assert set(_read(tmp_path / "second").parts) == {"service"}
    assert (tmp_path / "first" / FILE_NAME).read_bytes() == first
