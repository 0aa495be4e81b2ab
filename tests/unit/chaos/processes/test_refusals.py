"""What the system does not allow, or does not have, is said with what to do."""

from __future__ import annotations

import psutil
import pytest

from chaos.processes import ProcessFaultError, files, signals
from chaos.stack.process import ProcessIdentity

ME = ProcessIdentity.of_this_process()
NOBODY = ProcessIdentity(2**22 + 1, 1.0)


def test_a_signal_that_is_not_permitted_names_the_process_and_who_may() -> None:
    """A part that another user owns cannot be stopped from here."""

    def refuse(process: psutil.Process) -> None:
        raise psutil.AccessDenied(process.pid)

    with pytest.raises(ProcessFaultError, match=f"no permission to stop process {ME.pid}; run ragquake as"):
        signals.send(ME, refuse, "stop")


def test_a_signal_to_somebody_who_is_gone_is_none() -> None:
    """Neither the process that ended nor the one that has its pid by now is signalled."""

    def never(_process: psutil.Process) -> None:
        raise AssertionError("signalled")

    signals.send(NOBODY, never, "stop")
    signals.send(ProcessIdentity(ME.pid, ME.created_s - 100.0), never, "stop")


def test_limits_that_are_not_permitted_name_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """prlimit on somebody else's process."""

    def refuse(self: psutil.Process, *_: object) -> tuple[int, int]:
        raise psutil.AccessDenied(self.pid)

    monkeypatch.setattr(psutil.Process, "rlimit", refuse)
    with pytest.raises(ProcessFaultError, match=f"no permission to see the limits of process {ME.pid}"):
        files.set_soft(ME, 64)


def test_where_there_is_no_prlimit_the_fault_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS limits a process from inside only."""
    monkeypatch.delattr(psutil, "RLIMIT_NOFILE")
    for call in (files.limits, files.open_numbers, lambda of: files.set_soft(of, 64)):
        with pytest.raises(ProcessFaultError, match=r"Linux only.*leave this fault out"):
            call(ME)


def test_limits_of_somebody_who_is_gone_are_nothing() -> None:
    """Nothing to see and nothing to set, without an error."""
    assert files.limits(NOBODY) is None and files.set_soft(NOBODY, 64) is None
    assert files.open_numbers(NOBODY) == frozenset()
