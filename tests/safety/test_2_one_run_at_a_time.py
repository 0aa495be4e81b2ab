"""Two runs never share a stack: attempts to start a second one, and locks that must keep nobody out."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chaos.errors import EnvironmentFailure, RunRefused
from chaos.safety import lock
from chaos.safety.lock import run_lock, stack_locks
from tests.clocks import until

HOLDER = """
import sys
from pathlib import Path
from chaos.safety.lock import run_lock, stack_locks
with run_lock(Path(sys.argv[1]), "ragquake run spike"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "run.lock"


def is_free(path: Path) -> bool:
    try:
        with run_lock(path, "another"):
            return True
    except RunRefused:
        return False


def test_a_second_run_is_refused_and_told_who_is_in_the_way(path: Path) -> None:
    """Also from within the same process, which would be a campaign that forgot to end a run."""
    with (
        run_lock(path, "ragquake run spike"),
        pytest.raises(RunRefused, match=rf"ragquake run spike, pid {os.getpid()}"),
        run_lock(path, "ragquake run steady"),
    ):
        raise AssertionError("the second run got in")


def test_a_run_in_another_process_is_in_the_way_until_it_is_killed(path: Path) -> None:
    """The lock is the kernel's: kill -9 leaves no stale one, only a note that nobody believes."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        assert not is_free(path)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert json.loads(path.read_text())["pid"] == process.pid
        assert is_free(path)


def test_the_lock_is_free_after_a_run_however_it_ended(path: Path) -> None:
    """An error in a run does not keep the next one out."""
    with pytest.raises(ZeroDivisionError), run_lock(path, "first"):
        raise ZeroDivisionError
    assert is_free(path)


@pytest.mark.parametrize("note", ["", "{", '{"pid": 1}', "[1]", "\0\0", '{"what": {}, "pid": []}'])
def test_a_note_that_makes_no_sense_neither_locks_nor_breaks(path: Path, note: str) -> None:
    """A killed run, a full disk or a person may leave anything in the file."""
    path.parent.mkdir()
    path.write_text(note)
    assert is_free(path)
    path.write_text(note)
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert not is_free(path)


@contextmanager
def forked(ends: Callable[[], None] = lambda: None) -> Iterator[None]:
    """A child of this process, from a fork without exec, that lives as long as the block."""
    until, tell = os.pipe()
    ready, say = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(tell)
        ends()
        os.write(say, b".")
        os.read(until, 1)
        os._exit(0)
    try:
        assert os.read(ready, 1) == b"."
        yield
    finally:
        for descriptor in (until, tell, ready, say):
            os.close(descriptor)
        os.waitpid(child, 0)


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_neither_keeps_the_lock_nor_loses_it(path: Path) -> None:
    """A worker that is left behind would keep every run out; one that ends would let a second run in."""
    with run_lock(path, "parent"):
        with forked():
            assert not is_free(path)
        assert not is_free(path), "the child that ended has taken the parent's lock with it"
        left_behind = forked()
        left_behind.__enter__()
    assert is_free(path), "a child that was left behind holds the lock"
    left_behind.__exit__(None, None, None)


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_fork_does_inherit_locks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: without the letting go, the child above would hold it."""
    with run_lock(path, "parent"):
        monkeypatch.setattr(lock, "_held", set())
        left_behind = forked()
        left_behind.__enter__()
    assert not is_free(path)
    left_behind.__exit__(None, None, None)


def test_a_program_that_a_run_starts_does_not_inherit_the_lock(path: Path) -> None:
    """Not even one that is started with all descriptors open."""
    with run_lock(path, "run"):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    try:  # a parent may go on an instant before its child's descriptors are closed
        until(lambda: is_free(path), "the child holds the lock")
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize(
    "number", [errno.ENOLCK, errno.ENOTSUP, errno.EIO, errno.ESTALE, errno.EACCES, errno.EROFS, errno.ENOSPC]
)
@pytest.mark.parametrize("call", ["flock", "open"])
def test_a_folder_that_cannot_lock_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int, call: str
) -> None:
    """A network folder, a read-only or a full one: what is wrong, where, and which flag names another."""

    def fails(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(*((lock.fcntl, "flock") if call == "flock" else (lock.os, "open")), fails)
    with pytest.raises(EnvironmentFailure, match="--state") as told, run_lock(path, "run"):
        raise AssertionError("ran without a lock")
    assert str(path) in str(told.value) and os.strerror(number) in str(told.value)
    monkeypatch.undo()
    assert is_free(path)


def test_a_state_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    """So is a lock that is a folder."""
    (tmp_path / "state").write_text("")
    with pytest.raises(EnvironmentFailure, match="--state"), run_lock(tmp_path / "state" / "run.lock", "run"):
        raise AssertionError("ran without a lock")
    (tmp_path / "run.lock").mkdir()
    with pytest.raises(EnvironmentFailure, match="--state"), run_lock(tmp_path / "run.lock", "run"):
        raise AssertionError("ran without a lock")


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "shared"))
    return tmp_path / "shared"


@pytest.mark.usefixtures("shared")
def test_two_runs_with_states_of_their_own_never_share_a_target(tmp_path: Path) -> None:
    """Not even one address of it; runs on other targets do not wait for each other."""
    with run_lock(tmp_path / "a" / "run.lock", "one"), stack_locks(["10.0.0.5:80", "10.0.0.6:80"], "one"):
        with (
            run_lock(tmp_path / "b" / "run.lock", "two"),
            pytest.raises(RunRefused, match=r"one, which uses 10\.0\.0\.6:80"),
            stack_locks(["10.0.0.6:80", "10.0.0.7:80"], "two"),
        ):
            raise AssertionError("both got in")
        with stack_locks(["10.0.0.7:80"], "three"):
            pass  # and the refused one has let go of what it held
    with stack_locks(["10.0.0.5:80", "10.0.0.5:80"], "after"):
        pass


def test_a_shared_folder_that_cannot_lock_is_named_with_its_own_advice(shared: Path) -> None:
    """--state would be of no help there."""
    shared.write_text("")
    with pytest.raises(EnvironmentFailure, match="XDG_STATE_HOME"), stack_locks(["10.0.0.5:80"], "run"):
        raise AssertionError("ran without a lock")
