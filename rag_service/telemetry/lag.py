"""How late the event loop is: everything on it waits as long as the slowest step that does not await.

A sleeper asks to be woken every 50 ms and notes how much later it was. A pause of the loop is seen as long as
it was, less at most 50 ms. 100 ms are worth a warning: that is a third of a search's limit, spent by nobody.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]

EVERY_S = 0.05
WARN_ABOVE_S = 0.1
#: At most one warning in this time; the metric has them all.
_QUIET_S = 5.0

_log = logging.getLogger("rag_service.loop")


class LoopLag:
    """Samples the lag until it is cancelled."""

    def __init__(
        self,
        observe: Callable[[float], None],
        *,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._observe = observe
        self._clock = clock
        self._sleep = sleep
        self._quiet_until = 0.0
        self._unsaid = 0
        self.last_s = 0.0

    async def run(self) -> None:
        while True:
            before = self._clock()
            await self._sleep(EVERY_S)
            now = self._clock()
            self.last_s = max(0.0, now - before - EVERY_S)
            self._observe(self.last_s)
            if self.last_s > WARN_ABOVE_S:
                self._warn(now)

    def _warn(self, now: float) -> None:
        if now < self._quiet_until:
            self._unsaid += 1
            return
        more = f"; {self._unsaid} more since the last warning" if self._unsaid else ""
        _log.warning(
            "the event loop was late by %.0f ms (warned about above %.0f ms)%s",
            self.last_s * 1000.0,
            WARN_ABOVE_S * 1000.0,
            more,
        )
        self._quiet_until, self._unsaid = now + _QUIET_S, 0
