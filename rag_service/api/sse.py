"""The events of a streamed answer, and the rule that exactly one of them is terminal.

`meta` · `token`… · `done` or `error` (note 0001, §2). A token event is one bytes template, because it is
what a busy service makes most of. There are no pings: a stream is never silent for longer than the token gap.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from rag_service.errors import RagError
from rag_service.pipeline import Answer

MEDIA_TYPE = "text/event-stream"
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
_TOKEN = b'event: token\ndata: {"text":%s}\n\n'

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {_encode(data)}\n\n".encode()


def error_event(code: str, message: str) -> bytes:
    """The terminal event of a stream that had begun, so that its answer is partial."""
    return event("error", {"code": code, "message": message, "partial": True})


class AnswerStream(StreamingResponse):
    """A streamed answer. Whatever happens, the last event is terminal, and it is the only one.

    However the response ends (finished, failed, hung up before its first byte), the upstream stream is closed
    and `on_close` is called: a generator's own `finally` would not run if it was never started.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        headers: dict[str, str],
        meta: dict[str, Any],
        done: Callable[[], dict[str, Any]],
        failed: Callable[[Exception], None],
        on_close: Callable[[], None],
    ) -> None:
        super().__init__(self._events(), media_type=MEDIA_TYPE, headers=_HEADERS | headers)
        self._answer = answer
        self._meta = meta
        self._done = done
        self._failed = failed
        self._on_close = on_close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            try:
                await self._answer.tokens.aclose()
            finally:
                self._on_close()

    async def _events(self) -> AsyncIterator[bytes]:
        yield event("meta", self._meta)
        try:
            async for text in self._answer.tokens:
                yield _TOKEN % _encode(text).encode()
        except RagError as error:
            self._failed(error)
            yield error_event(error.reason, str(error))
        except Exception as error:
            self._failed(error)
            yield error_event("internal_error", "the answer failed for an unexpected reason")
        else:
            yield event("done", self._done())
