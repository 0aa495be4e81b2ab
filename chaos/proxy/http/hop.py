"""The hop of one proxy: its connections go through it to the upstream, and it reads them as HTTP/1.1.

A byte connection of the proxy gets one end of a socket pair in the upstream's place, so that toxics and
faults on requests add up, and nobody else can come in. The other end is one task (`conversation`) with one
connection to the upstream.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import h11

from chaos.proxy.evidence import Evidence
from chaos.proxy.http.conversation import Conversation, Place
from chaos.proxy.http.fault_set import HttpFaults
from chaos.proxy.http.peer import Peer

if TYPE_CHECKING:
    from chaos.proxy.connection import Dial
    from chaos.proxy.end import End

DIAL_TIMEOUT_S = 30.0
"""As long as the proxy itself waits for an upstream."""


class Hop:
    """Reads the requests of one proxy."""

    descriptors = 2  # the socket pair; the upstream's own is the connection's

    def __init__(
        self, proxy: str, rng: random.Random, evidence: Evidence, dial_timeout_s: float = DIAL_TIMEOUT_S
    ) -> None:
        self.faults = HttpFaults(rng, evidence.now_s)
        self._proxy = proxy
        self._evidence = evidence
        self._dial_timeout_s = dial_timeout_s
        self._tasks: set[asyncio.Task[None]] = set()

    def dial(self, connection: int, upstream: str) -> Dial:
        """How to reach the hop, which then reaches `upstream`, on behalf of this connection."""

        async def connect(loop: asyncio.AbstractEventLoop, make_end: Callable[[], End]) -> None:
            ours, theirs = socket.socketpair()
            try:
                ours.setblocking(False)
                theirs.setblocking(False)
                _, client = await loop.create_connection(lambda: Peer(h11.SERVER), sock=ours)
            except BaseException:
                ours.close()
                theirs.close()
                raise
            try:
                _, end = await loop.create_connection(make_end, sock=theirs)
            except BaseException:
                client.abort()
                theirs.close()
                raise
            place = Place(
                self._proxy,
                connection,
                upstream,
                self.faults,
                self._evidence,
                end.connection.end_with_reset,
                self._dial_timeout_s,
            )
            task = loop.create_task(Conversation(client, place).run())
            self._tasks.add(task)
            task.add_done_callback(partial(self._over, client))

        return connect

    def _over(self, client: Peer, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():  # it was stopped before it began, and could not close the client itself
            client.abort()

    @property
    def open(self) -> int:
        """How many connections go through it now."""
        return len(self._tasks)

    def stop(self) -> None:
        """Drop every request."""
        for task in list(self._tasks):
            task.cancel()

    def clear(self) -> None:
        """Remove every fault on requests."""
        self.faults.clear()

    def hanging_on(self, lease: str) -> list[str]:
        """The faults that hang on this lease."""
        return [name for name, spec in self.faults.specs.items() if spec.lease == lease]

    def end_lease(self, lease: str) -> list[str]:
        """Remove the faults that hang on this lease; their names."""
        names = self.hanging_on(lease)
        for name in names:
            self.faults.remove(name)
        return names
