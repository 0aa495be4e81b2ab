"""uvicorn, ended gracefully: the first SIGTERM drains, the second ends at once.

uvicorn alone closes its listening socket first, so that a load balancer sees refused connections instead of
`503 draining`, and cancels streams that are late, so that their readers see them cut. Here the drain comes
first, with the socket open; uvicorn shuts down what is left, which is nothing.
"""

from __future__ import annotations

import asyncio
import os
import sys
from types import FrameType

import uvicorn

from rag_service.api.drain import Drain

_CLOSING_S = 1


class DrainingServer(uvicorn.Server):
    """Serves until a signal, then drains for at most `drain_s`."""

    def __init__(self, config: uvicorn.Config, drain: Drain, *, drain_s: float) -> None:
        config.timeout_graceful_shutdown = _CLOSING_S
        super().__init__(config)
        self._drain = drain
        self._drain_s = drain_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None
        self._signalled = False

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)  # type: ignore[arg-type]

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._signalled:
            end_at_once()
        self._signalled = True
        if self._loop is None:
            self.should_exit = True  # nothing was served yet
        else:
            self._loop.call_soon_threadsafe(self._start_drain)

    def _start_drain(self) -> None:
        self._draining = asyncio.ensure_future(self._drain_and_exit())

    async def _drain_and_exit(self) -> None:
        try:
            await self._drain.run(self._drain_s)
        finally:
            self.should_exit = True


def end_at_once() -> None:
    """Whoever asks twice means it. Exit code 0: it was asked for."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
