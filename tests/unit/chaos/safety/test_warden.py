"""The rules of when a warden acts."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.errors import EnvironmentFailure
from chaos.safety.warden import DONE, Warden, watch
from chaos.stack.process import ProcessIdentity, spawned

ME = ProcessIdentity.of_this_process()


def test_the_word_done_dismisses_the_warden() -> None:
    """A runner that says done before it goes needs no cleaning up, however the word is cut."""
    read, write = os.pipe()
    os.write(write, DONE[:2])
    os.write(write, DONE[2:])
    os.close(write)
    assert watch(read, ME) is True
    os.close(read)


def test_a_closed_pipe_without_the_word_is_a_dead_runner() -> None:
    """The kernel closes the pipe however a runner ends; half a word is no word."""
    read, write = os.pipe()
    os.write(write, DONE[:3])
    os.close(write)
    assert watch(read, ME) is False
    os.close(read)


def test_a_runner_that_is_gone_is_noticed_though_the_pipe_stays_open() -> None:
    """Somebody else may hold the pipe open; pid and creation time decide then."""
    read, write = os.pipe()
    assert watch(read, ProcessIdentity(ME.pid, ME.created_s - 60), look_every_s=0.0) is False
    os.close(read)
    os.close(write)


def test_a_runner_that_stands_still_for_as_long_as_a_lease_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody watches over the faults of a suspended run; one that goes on in time is left alone."""
    looks: list[bool] = []
    stands = iter([*[True] * 3, False, *[True] * 4])

    def look(_self: ProcessIdentity) -> bool:
        looks.append(next(stands))
        return looks[-1]

    monkeypatch.setattr(ProcessIdentity, "suspended", property(look))
    monkeypatch.setattr(select, "select", lambda *_: ([], [], []))
    assert watch(0, ME, look_every_s=1.0, suspended_for_s=3.0) is False
    assert looks == [True, True, True, False, True, True, True, True]


def test_a_run_does_not_go_on_without_its_warden(tmp_path: Path) -> None:
    """Nobody would clean up after it; one that is at its post is no reason to stop."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        warden = Warden(process, spawned(process), (), tmp_path / "warden.log")
        warden.require_alive()
        process.kill()
        process.wait()
        with pytest.raises(EnvironmentFailure, match=r"warden \(pid \d+\) ended \(exit -9\)"):
            warden.require_alive()
