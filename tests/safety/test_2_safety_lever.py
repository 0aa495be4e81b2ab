"""The safety lever: what pulls it, what cannot hide it, and whom it reaches."""

from __future__ import annotations

import os
import select
import threading
import time
from pathlib import Path

import pytest

from chaos.errors import EnvironmentFailure, RunRefused
from chaos.safety import lever as levers
from chaos.safety.interruption import Interrupted, interruptible
from chaos.safety.lever import Lever, heeding_the_lever, pull, pulled, release
from chaos.safety.lock import run_lock
from chaos.safety.warden import HEED_THE_LEVER_WITHIN_S, watch
from chaos.stack.process import ProcessIdentity

ME = ProcessIdentity.of_this_process()


def test_a_pulled_lever_keeps_runs_from_starting_and_says_why(tmp_path: Path, lever: Path) -> None:
    """Until it is released, and then they start."""
    assert pull("a release goes out") == Lever(lever, "a release goes out")
    with pytest.raises(RunRefused, match=r"a release goes out.*stop --release"), run_lock(tmp_path / "l", ""):
        raise AssertionError("started with the lever pulled")
    assert release() == Lever(lever, "a release goes out")
    with run_lock(tmp_path / "l", ""):
        assert release() is None


def test_who_pulls_second_does_not_hide_why_the_first_did(lever: Path) -> None:
    """Whoever releases it must know all that it was pulled for."""
    pull("the first reason")
    assert pull("the second").reason == "the first reason"
    assert lever.exists()


@pytest.mark.parametrize("text", ["", "maintenance till noon\n", "{", "[]", '{"reason": 7}', "\0" * 9000])
def test_a_file_that_a_person_made_is_a_lever(lever: Path, text: str) -> None:
    """`touch` is enough; what stands in it is the reason, whatever it is, and short."""
    lever.write_text(text)
    found = pulled()
    assert found is not None and 0 < len(found.reason) <= levers.MOST_REASON


def test_a_folder_a_dead_link_or_a_pipe_in_its_place_is_a_lever(lever: Path) -> None:
    """Something is there, and a run that is in doubt does not go on. A pipe must not hang whoever looks."""
    lever.mkdir()
    assert pulled() is not None
    lever.rmdir()
    lever.symlink_to(lever.with_name("nowhere"))
    assert pulled() is not None
    lever.unlink()
    os.mkfifo(lever)
    assert pulled() is not None


def test_a_lever_that_cannot_be_pulled_says_so(lever: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may believe that the runs stop when they do not; nor that a folder was released."""
    monkeypatch.setenv("RAGQUAKE_SAFETY_LEVER", str(lever / "under-a-file"))
    lever.write_text("")
    with pytest.raises(EnvironmentFailure, match="RAGQUAKE_SAFETY_LEVER"):
        pull("now")
    monkeypatch.setenv("RAGQUAKE_SAFETY_LEVER", str(lever))
    lever.unlink()
    lever.mkdir()
    with pytest.raises(EnvironmentFailure, match="by hand"):
        release()


def test_it_reaches_a_run_that_waits_for_something_else(lever: Path) -> None:
    """The stack's start, a slow call, a verdict that is made: the main thread is woken wherever it is."""
    puller = threading.Timer(0.05, lever.touch)
    began_s = time.monotonic()
    with pytest.raises(Interrupted, match="safety lever"), interruptible(), heeding_the_lever():
        puller.start()
        time.sleep(60)
    assert time.monotonic() - began_s < 30
    puller.join()


def test_it_insists_while_the_run_goes_on(lever: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that has swallowed the first call is called again, and not in between."""
    lever.touch()
    monkeypatch.setattr(levers, "INSIST_EVERY_S", 0.01)
    called: list[str] = []
    twice = threading.Event()

    def stop(why: str) -> None:
        called.append(why)
        if len(called) == 2:
            twice.set()

    with heeding_the_lever(stop):
        assert twice.wait(30)
    before = len(called)
    assert not [thread for thread in threading.enumerate() if thread.name == "safety lever"]
    assert len(called) == before


def test_a_run_without_a_lever_is_left_alone(lever: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: it looks, again and again, and nothing is pulled."""
    looks = threading.Semaphore(0)

    def look() -> None:
        looks.release()

    monkeypatch.setattr(levers, "LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(levers, "pulled", look)
    with interruptible(), heeding_the_lever():
        for _ in range(3):
            assert looks.acquire(timeout=30)
    assert not lever.exists()


def test_a_runner_that_does_not_heed_it_is_cleaned_up_after(
    lever: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runner that hangs in a library hears nothing; its warden does, and gives it its time first."""
    looks = 0

    def nothing_heard(*_: object) -> tuple[list[int], list[int], list[int]]:
        nonlocal looks
        looks += 1
        if looks == 10:
            lever.touch()
        return [], [], []

    monkeypatch.setattr(select, "select", nothing_heard)
    assert watch(0, ME, look_every_s=1.0) is False
    assert looks == 10 + HEED_THE_LEVER_WITHIN_S
