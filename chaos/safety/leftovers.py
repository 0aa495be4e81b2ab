"""What an earlier run left because nobody was left to clean up after it, found before the next one starts.

A warden cleans up behind a killed runner. When both were killed, or the machine lost its power, a fault may
still be in a proxy of somebody else, and parts may run on and take the time of the cores that the next run
measures. So each run looks through its runs folder first, does what `ragquake rollback` would, and says so.
A run whose runner lives is not touched; a warden that is at work is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from chaos.clock import Clock
from chaos.errors import RunRefused
from chaos.run.journal import FILE_NAME as JOURNAL_NAME
from chaos.run.journal import outstanding_undos, read
from chaos.safety.rollback import RollbackReport, rollback
from chaos.stack.description import FILE_NAME, StackDescription, read_description
from chaos.stack.errors import StackError
from chaos.stack.process import marks

WARDEN_WAIT_S = 20.0
"""A rollback takes about 5 s at most; the machine may be busy."""
_LOOK_EVERY_S = 0.1
_LAST_LINE_BYTES = 8192


def clear_leftovers(runs: Path, say: Callable[[str], None], clock: Clock) -> list[RollbackReport]:
    """Roll back what ended runs in this folder left. Raises RunRefused when a fault may still be in."""
    reports = []
    alive = marks()
    for bundle in _bundles(runs):
        description = _description(bundle)
        if not _has_leftovers(bundle, description, alive) or _lives(description, "runner"):
            continue
        until_s = clock.monotonic_s() + WARDEN_WAIT_S
        while _lives(description, "warden") and clock.monotonic_s() < until_s:
            clock.sleep(_LOOK_EVERY_S)
        report = rollback(bundle)
        if report.nothing_to_do:
            continue
        say(f"an earlier run, {bundle.name}, had left something behind: {report.sentence()}")
        if not all(fault.done for fault in report.faults):
            raise RunRefused(
                f"an earlier run, {bundle.name}, left faults that cannot be undone: {report.sentence()}; "
                f"when what they were done to is gone for good, delete {bundle}"
            )
        reports.append(report)
    return reports


def _bundles(runs: Path) -> Iterable[Path]:
    """The oldest first, with the stacks that runs of a campaign share; links to the latest are none."""
    found = [*runs.glob("*"), *runs.glob("*.campaign/stack-*")]
    folders = sorted(one for one in found if one.is_dir() and not one.is_symlink())
    return [one for one in folders if (one / FILE_NAME).is_file() or (one / JOURNAL_NAME).is_file()]


def _has_leftovers(bundle: Path, description: StackDescription | None, alive: set[str]) -> bool:
    if {str((bundle / FILE_NAME).resolve()), str((bundle / FILE_NAME).absolute())} & alive:
        return True
    if description is not None and (description.lent_by in alive or set(description.living()) - {"runner"}):
        return True
    journal = bundle / JOURNAL_NAME
    return not _ended_well(journal) and bool(outstanding_undos(read(journal)))


def _ended_well(journal: Path) -> bool:
    """Whether the last line says so: the journals of a hundred runs are not read through for each new one."""
    with suppress(OSError), journal.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - _LAST_LINE_BYTES))
        last = file.read().rstrip(b"\n").rpartition(b"\n")[2]
        return b'"event":"run.finished"' in last and b'"status":"error"' not in last
    return True


def _description(bundle: Path) -> StackDescription | None:
    """One that cannot be read names nobody; the mark and the journal are looked at all the same."""
    with suppress(StackError):
        return read_description(bundle / FILE_NAME)
    return None


def _lives(description: StackDescription | None, part: str) -> bool:
    return description is not None and part in description.living()
