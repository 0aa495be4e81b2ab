"""`python -m bench.observed`: the service as it is, plus one route that tells what only its inside knows.

`GET /bench` answers with the CPU time of the process and of each Python thread (thread clocks, so that the
embedder's share can be subtracted exactly), the number of asyncio tasks, and the event loop's lag since the
last call. Lag is how much later than asked a timer fires; a sampler that wakes every 50 ms costs about 0.1 %
of a core.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any

LAG_EVERY_S = 0.05


class LagSampler:
    """Late wake-ups since they were last read."""

    def __init__(self) -> None:
        self._lags: list[float] = []
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._sample(), name="bench-lag")

    async def _sample(self) -> None:
        while True:
            asked = time.perf_counter() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self._lags.append(max(0.0, time.perf_counter() - asked))

    def take(self) -> dict[str, float]:
        lags, self._lags = sorted(self._lags), []
        if not lags:
            return {"p50_s": 0.0, "p99_s": 0.0, "max_s": 0.0}
        return {"p50_s": lags[len(lags) // 2], "p99_s": lags[int(len(lags) * 0.99)], "max_s": lags[-1]}


def cpu_by_thread() -> dict[str, float]:
    """CPU seconds of the Python threads that live, by name; of equal names, their sum."""
    found: dict[str, float] = {}
    for thread in threading.enumerate():
        with suppress(OSError, AttributeError):  # it may end meanwhile; macOS has no such clock
            clock = time.pthread_getcpuclockid(thread.ident or 0)
            found[thread.name] = found.get(thread.name, 0.0) + time.clock_gettime(clock)
    return found


def observe(app: Any) -> Any:
    """`app` with the route; only loopback should ever see it, and only a benchmark mounts it."""
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response

    lag = LagSampler()

    async def look(_: Request) -> Response:
        lag.start()
        return JSONResponse(
            {
                "cpu_s": time.process_time(),
                "threads": cpu_by_thread(),
                "tasks": len(asyncio.all_tasks()),
                "lag": lag.take(),
            }
        )

    app.add_route("/bench", look)
    return app


def main() -> None:
    import rag_service.app as wiring
    from rag_service import __main__ as start

    create_app = wiring.create_app
    wiring.create_app = lambda *arguments: observe(create_app(*arguments))
    code = start.main()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
