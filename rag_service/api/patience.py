"""Stops working for a caller who has hung up, and when the service must end.

Starlette notices a hang-up only while it streams. A JSON answer, or the wait for the first token, would go
on for nobody and hold the model's slot, so the work runs beside a watch on the connection and on the drain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from rag_service.errors import RagError

T = TypeVar("T")


class Interruption:
    """One answer's way of being told to stop: `future` is done when `error` says why."""

    __slots__ = ("asked", "error", "future")

    def __init__(self) -> None:
        self.error: RagError | None = None
        #: The question has come whole; until then there is nothing to finish.
        self.asked = False
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def interrupt(self, error: RagError) -> None:
        if not self.future.done():
            self.error = error
            self.future.set_result(None)


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T], interruption: Interruption) -> T:
    """The result of `work`; ClientDisconnect or the interruption's error after it was cancelled."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(disconnected(receive))
    try:
        await asyncio.wait((task, gone, interruption.future), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if interruption.error is not None:
            raise interruption.error
        raise ClientDisconnect
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))


async def unless_interrupted(work: Awaitable[T], interruption: Interruption) -> T:
    """The result of `work`, or the interruption's error. In this task: one more would cost every request."""
    loop = asyncio.get_running_loop()
    waiting = True
    try:
        async with asyncio.timeout(None) as limit:

            def stop(_: object) -> None:
                if waiting:  # a call that was scheduled cannot be taken back
                    limit.reschedule(loop.time())

            interruption.future.add_done_callback(stop)
            try:
                return await work
            finally:
                waiting = False
                interruption.future.remove_done_callback(stop)
    except TimeoutError:
        if interruption.error is None:
            raise
        raise interruption.error from None


async def disconnected(receive: Receive) -> None:
    """Returns when the caller has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass
