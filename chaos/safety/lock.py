"""One run at a time: two runs on one machine would each be the other's noise, and share its faults.

The lock is the operating system's (flock), so it cannot outlive its holder, however that ends. The file
only tells the one who has to wait whom to ask. A second file, the safety lever, stops every run on the
machine and keeps new ones from starting for as long as it exists.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos.errors import RunRefused


def safety_lever() -> Path:
    """The file that stops every run: `~/.ragquake-stop`, or where `RAGQUAKE_SAFETY_LEVER` points."""
    return Path(os.environ.get("RAGQUAKE_SAFETY_LEVER", str(Path.home() / ".ragquake-stop")))


@contextmanager
def run_lock(path: Path, what: str) -> Iterator[None]:
    """Hold the lock for one run. Raises RunRefused when another run holds it or the lever is pulled."""
    if safety_lever().exists():
        raise RunRefused(
            f"the safety lever {safety_lever()} is pulled; remove the file when runs are welcome again"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunRefused(
                f"another run is under way{_holder(path)}; wait, or stop it with Ctrl-C in its terminal"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps({"pid": os.getpid(), "what": what}).encode())
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _holder(path: Path) -> str:
    try:
        held = json.loads(path.read_text())
        return f" ({held['what']}, pid {held['pid']})"
    except (OSError, ValueError, KeyError):
        return ""
