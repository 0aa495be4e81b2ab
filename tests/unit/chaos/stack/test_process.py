"""The rules of telling processes apart."""

from __future__ import annotations

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
