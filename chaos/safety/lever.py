"""The safety lever: one file that stops every run on the machine, and keeps new ones from starting.

For the moment in which somebody else needs the machine and does not know which terminals the runs are in. A
file, because anybody can make one (`touch ~/.ragquake-stop`), it outlasts whoever made it, and no run can
fail to find it. A run looks at it four times a second from a thread of its own, so that it is heard while the
stack starts and while the verdict is made.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chaos.errors import EnvironmentFailure, RunRefused
from chaos.safety.interruption import interrupt

VARIABLE = "RAGQUAKE_SAFETY_LEVER"
LOOK_EVERY_S = 0.25
INSIST_EVERY_S = 2.0
"""Between one call to stop and the next, as an impatient person would press Ctrl-C again."""
MOST_REASON = 200


@dataclass(frozen=True, slots=True)
class Lever:
    """The lever as it was found pulled."""

    path: Path
    reason: str

    def sentence(self) -> str:
        """What is the matter, for whoever is stopped or refused by it."""
        return f"the safety lever {self.path} is pulled ({self.reason})"


def lever_path() -> Path:
    """The file: `~/.ragquake-stop`, or where `RAGQUAKE_SAFETY_LEVER` points."""
    return Path(os.environ.get(VARIABLE) or Path.home() / ".ragquake-stop")


def pulled() -> Lever | None:
    """The lever when it is pulled. Whatever stands at its path counts, whether it can be read or not."""
    path = lever_path()
    return Lever(path, _reason(path)) if os.path.lexists(path) else None


def require_not_pulled() -> None:
    """Raises RunRefused while the lever is pulled."""
    if lever := pulled():
        raise RunRefused(f"{lever.sentence()}; `ragquake stop --release` when runs are welcome again")


def pull(reason: str) -> Lever:
    """Pull it; one that is pulled already keeps its reason. Raises EnvironmentFailure when it cannot be."""
    path = lever_path()
    told = " ".join(reason.split())[:MOST_REASON]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(path):
            with path.open("x", encoding="utf-8") as file:
                json.dump({"reason": told, "at_s": round(time.time(), 3)}, file)
    except OSError as error:
        raise EnvironmentFailure(
            f"the safety lever {path} cannot be pulled: {error.strerror}; {VARIABLE} names another file"
        ) from error
    return Lever(path, _reason(path))


def release() -> Lever | None:
    """Release it, and say what it was pulled for; nothing when it was not. Raises EnvironmentFailure."""
    lever = pulled()
    if lever is not None:
        try:
            lever.path.unlink(missing_ok=True)
        except OSError as error:
            raise EnvironmentFailure(
                f"the safety lever {lever.path} cannot be released: {error.strerror}; remove it by hand"
            ) from error
    return lever


@contextmanager
def heeding_the_lever(stop: Callable[[str], None] = interrupt) -> Iterator[None]:
    """Stop this run, as a person would with Ctrl-C, when the lever is pulled before the block ends."""
    ended = threading.Event()

    def look() -> None:
        wait_s = 0.0
        while not ended.wait(wait_s):
            lever = pulled()
            if lever is not None:
                stop(lever.sentence())
            wait_s = LOOK_EVERY_S if lever is None else INSIST_EVERY_S

    thread = threading.Thread(target=look, name="safety lever", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _reason(path: Path) -> str:
    """Nobody is waited for: a pipe stands in its place, too."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            text = os.read(descriptor, 10 * MOST_REASON).decode("utf-8", "replace")
        finally:
            os.close(descriptor)
    except OSError:
        return "nobody said why"
    try:
        told = json.loads(text)["reason"]
    except (ValueError, TypeError, KeyError):
        told = text
    return " ".join(str(told).split())[:MOST_REASON] or "nobody said why"
