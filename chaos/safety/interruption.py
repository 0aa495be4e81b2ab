"""Ctrl-C and SIGTERM as one thing, with a rollback that a second, impatient Ctrl-C cannot cut short."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_asked: list[str] = []
"""Why this process asked itself to stop; a signal brings no words."""


class Interrupted(KeyboardInterrupt):
    """A person, or whoever speaks for one, wants the run to stop."""


def interrupt(reason: str) -> None:
    """Stop the main thread from another one as Ctrl-C would, whatever it waits for; `reason` is told."""
    _asked[:] = [reason]
    main = threading.main_thread().ident
    if main is not None:
        signal.pthread_kill(main, signal.SIGTERM)


@contextmanager
def interruptible(*, ignore: bool = False) -> Iterator[None]:
    """Turn the signals that ask a process to end into Interrupted, or ignore them while cleaning up."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        raise Interrupted(_asked.pop() if _asked else signal.Signals(number).name)

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN if ignore else on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
