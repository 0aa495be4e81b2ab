"""Taking connections: as many as the process has file descriptors for, and no faster than they come.

A process that runs out of descriptors must neither die nor spin, and its API must stay in reach, or the
fault that filled it could not be taken out. So the proxies share what the API leaves, and a proxy that has
none left stops accepting: clients wait in the kernel's queue until a connection ends. `accept` itself is
done here, and not by asyncio's server, whose accepted connections appear a step later, when their proxy may
be closed, and whose word on a full table is a traceback a second.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path

_AT_ONCE = 64
_PAUSE_S = 0.5
_SAY_EVERY_S = 10.0
_FOR_THE_API = 64
_log = logging.getLogger(__name__)


class Descriptors:
    """How many descriptors the proxies of a server may use, and who waits for one."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self.pauses = 0
        """How often a proxy had to wait."""
        self._waiting: list[Callable[[], None]] = []

    def take(self, count: int) -> bool:
        """Whether there are that many, which are then taken."""
        if self.taken + count > self.most:
            return False
        self.taken += count
        return True

    def give(self, count: int) -> None:
        """They are free again: whoever waits tries again."""
        self.taken -= count
        waiting, self._waiting = self._waiting, []
        for resume in waiting:
            resume()

    def wait(self, resume: Callable[[], None]) -> None:
        """Call `resume` when some are free."""
        self.pauses += 1
        self._waiting.append(resume)


def all_descriptors() -> Descriptors:
    """What this process may open, raised to the hard limit, less what it needs for itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    except (OSError, ValueError):
        pass  # some systems say "unlimited" and refuse it
    most = soft if soft != resource.RLIM_INFINITY else 1_000_000
    return Descriptors(max(16, most - _FOR_THE_API - len(list(Path("/dev/fd").iterdir()))))


class Acceptor:
    """One listening socket."""

    def __init__(
        self,
        listener: socket.socket,
        loop: asyncio.AbstractEventLoop,
        on_accept: Callable[[socket.socket], None],
        descriptors: Descriptors,
        cost: int,
    ) -> None:
        """`cost` is how many descriptors one of its connections uses."""
        self._listener = listener
        self._loop = loop
        self._on_accept = on_accept
        self._descriptors = descriptors
        self._cost = cost
        self._quiet_until_s = 0.0
        self._closed = False
        self._resume()

    def close(self) -> None:
        """Close the port; who waited there is reset by the kernel."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()

    def _resume(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listener.fileno(), self._accept_some)

    def _accept_some(self) -> None:
        for _ in range(_AT_ONCE):
            if not self._descriptors.take(self._cost):
                self._complain(f"all {self._descriptors.most} file descriptors for connections are in use")
                self._loop.remove_reader(self._listener.fileno())
                self._descriptors.wait(self._resume)
                return
            try:
                accepted, _ = self._listener.accept()
            except ConnectionAbortedError:  # that client gave up while it waited
                self._descriptors.give(self._cost)
                continue
            except (BlockingIOError, InterruptedError):
                self._descriptors.give(self._cost)
                return
            except OSError as error:
                self._complain(os.strerror(error.errno or 0).lower())
                self._loop.remove_reader(self._listener.fileno())
                self._loop.call_later(_PAUSE_S, self._resume)
                self._descriptors.give(self._cost)
                return
            accepted.setblocking(False)
            self._on_accept(accepted)
            if self._closed:
                return

    def _complain(self, why: str) -> None:
        if self._loop.time() >= self._quiet_until_s:
            self._quiet_until_s = self._loop.time() + _SAY_EVERY_S
            _log.warning(
                "a proxy takes no more connections for now: %s; new ones wait until others end. "
                "To have room for more, raise the limit (ulimit -n) and start again",
                why,
            )
