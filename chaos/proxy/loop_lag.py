"""How late the event loop is: a proxy that cannot keep up adds delays that no toxic was asked for."""

from __future__ import annotations

import asyncio
from collections import deque

_EVERY_S = 0.25
_WINDOW = 60


class LoopLag:
    """How late the event loop's timers are: what any toxic adds to what it was asked for."""

    def __init__(self) -> None:
        self._lags: deque[float] = deque([0.0], maxlen=_WINDOW)
        self._task: asyncio.Task[None] | None = None

    @property
    def worst_s(self) -> float:
        """The longest of the last 15 s."""
        return max(self._lags)

    def start(self) -> None:
        """Measure from now on, four times a second."""
        self._task = asyncio.get_running_loop().create_task(self._measure())

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + _EVERY_S
            await asyncio.sleep(_EVERY_S)
            self._lags.append(max(0.0, loop.time() - due_s))
