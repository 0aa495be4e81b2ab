"""The rules of telling processes apart."""

from __future__ import annotations

import psutil
import pytest

from chaos.stack.process import ProcessIdentity


def test_this_process_is_alive_by_its_identity() -> None:
    """Pid and creation time together find the process."""
    assert ProcessIdentity.of_this_process().alive


def test_a_pid_that_was_given_to_another_process_is_not_the_same() -> None:
    """The same pid with another creation time is a stranger and is never handed out for a signal."""
    me = ProcessIdentity.of_this_process()
    stranger = ProcessIdentity(me.pid, me.created_s - 60.0)
    assert not stranger.alive
    assert stranger.process() is None


def test_a_pid_that_nobody_has_is_dead() -> None:
    """An unused pid is no process and no error."""
    assert not ProcessIdentity(2**22 + 1, 0.0).alive


def test_whoever_sets_the_clock_makes_nobody_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux tells creation times by the clock of the moment; after a step of a minute all are still found."""
    if not psutil.LINUX:
        pytest.skip("elsewhere the kernel keeps the Unix time itself")
    me = ProcessIdentity.of_this_process()
    before_s = psutil.boot_time()
    unset_s = psutil.Process(me.pid).create_time()
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: before_s + 60.0)
    assert psutil.Process(me.pid).create_time() == pytest.approx(unset_s + 60.0)
    assert me.alive and ProcessIdentity.of_this_process() == me
