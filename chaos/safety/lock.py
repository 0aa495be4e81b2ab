"""One run at a time: two runs on one stack would each be the other's noise, and share its faults.

The lock is the operating system's (flock), so it cannot outlive its holder, however that ends; a child that
is forked and does not become another program lets go of it at once, or a worker that was left behind would
hold it for ever. The file only tells the one who has to wait whom to ask.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from chaos.errors import EnvironmentFailure, RunRefused
from chaos.safety.lever import require_not_pulled

ELSEWHERE = "name a folder on a local disk that you may write to, with --state"
_held: set[int] = set()
"""The descriptors of the locks that this process holds."""


@contextmanager
def run_lock(path: Path, what: str, elsewhere: str = ELSEWHERE) -> Iterator[None]:
    """Hold the lock for one run; `elsewhere` is what to do where it cannot be.

    Raises RunRefused when another run holds it or the safety lever is pulled, EnvironmentFailure when there
    can be no lock at this path.
    """
    require_not_pulled()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _no_lock(path, error, elsewhere) from error
    _held.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _note(descriptor, json.dumps({"pid": os.getpid(), "what": what}))
        except BlockingIOError:
            raise RunRefused(
                f"another run is under way{_holder(path)}; wait, or stop it with Ctrl-C in its terminal"
            ) from None
        except OSError as error:
            raise _no_lock(path, error, elsewhere) from error
        yield
        with suppress(OSError):  # a note too many on a full disk: the lock is what counts
            _note(descriptor, "")
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


@contextmanager
def stack_locks(addresses: Iterable[str], what: str) -> Iterator[None]:
    """Hold a lock for each address of a stack that others may reach, too, whatever their `--state`.

    They lie in one place for all of this user's runs on the machine. Raises as run_lock does.
    """
    with ExitStack() as held:
        for address in sorted(set(addresses)):
            path = _shared_folder() / f"{sha256(address.encode()).hexdigest()[:16]}.lock"
            elsewhere = "XDG_STATE_HOME names another folder, the same for all runs"
            held.enter_context(run_lock(path, f"{what}, which uses {address}", elsewhere))
        yield


def _shared_folder() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "ragquake" / "locks"


def _note(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def _no_lock(path: Path, error: OSError, elsewhere: str) -> EnvironmentFailure:
    network = error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EIO, errno.ESTALE)
    why = "; network folders often cannot lock" if network else ""
    return EnvironmentFailure(
        f"the lock {path}, which keeps two runs apart, cannot be taken: {error.strerror}{why}; {elsewhere}"
    )


def _holder(path: Path) -> str:
    try:
        held = json.loads(path.read_text())
        return f" ({held['what']}, pid {held['pid']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _let_go_in_child() -> None:
    """Closing is enough, and all that is right: to unlock would unlock the parent's, too."""
    for descriptor in _held:
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_child)
