"""The events of a streamed answer, and the rule that exactly one of them is terminal.

`meta` · `token`… · `done` or `error` (note 0001, §2). A token event is one bytes template, because it is
what a busy service makes most of. There are no pings: a stream is never silent for longer than the token gap.

A stream ends in one of five ways: finished, failed, the client hung up, the service is draining, or its
reader has stalled past the deadline. The latter three are waited for beside the sending and cancel it, so a
token costs no timer of its own and nobody who does not read can hold the model's slot.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Protocol

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from rag_service.api.patience import Interruption, disconnected
from rag_service.errors import DeadlineExceeded, RagError
from rag_service.pipeline import Answer
from rag_service.resilience.deadline import Deadline

MEDIA_TYPE = "text/event-stream"
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
_TOKEN = b'event: token\ndata: {"text":%s}\n\n'
#: What a stream may go on for beyond its deadline: its own deadline event comes first, if the reader reads.
_GRACE_S = 0.05
#: How long the last event of an interrupted stream may wait for a reader.
_LAST_WORD_S = 0.1

#: JSON in one line; a newline in it would end the event.
encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {encode(data)}\n\n".encode()


def error_event(code: str, message: str) -> bytes:
    """The terminal event of a stream that had begun, so that its answer is partial."""
    return event("error", {"code": code, "message": message, "partial": True})


class Frames(Protocol):
    """How one dialect spells the parts of a stream."""

    def opening(self) -> bytes: ...
    def token(self, text: str) -> bytes: ...
    def done(self) -> bytes: ...
    def error(self, code: str, message: str) -> bytes: ...


class Events:
    """The frames of `POST /v1/answers`."""

    def __init__(self, meta: dict[str, Any], done: Callable[[], dict[str, Any]]) -> None:
        self._meta = meta
        self._done = done

    def opening(self) -> bytes:
        return event("meta", self._meta)

    def token(self, text: str) -> bytes:
        return _TOKEN % encode(text).encode()

    def done(self) -> bytes:
        return event("done", self._done())

    def error(self, code: str, message: str) -> bytes:
        return error_event(code, message)


class AnswerStream(StreamingResponse):
    """A streamed answer. Whatever happens, the last event is terminal, and it is the only one.

    `on_done` is called once `done` has been sent, not before: a reader may stall at the very last event.
    However the response ends, the upstream stream is closed and `on_close` is called with what ended it: None
    when it was finished.
    """

    def __init__(
        self,
        answer: Answer,
        frames: Frames,
        *,
        headers: dict[str, str],
        deadline: Deadline,
        interruption: Interruption,
        on_done: Callable[[], None],
        on_close: Callable[[BaseException | None], None],
    ) -> None:
        self.status_code = 200
        self.background = None
        self.media_type = MEDIA_TYPE
        self.init_headers(_HEADERS | headers)
        self._answer = answer
        self._frames = frames
        self._deadline = deadline
        self._interruption = interruption
        self._on_done = on_done
        self._on_close = on_close
        self._ended_by: BaseException | None = asyncio.CancelledError("the caller hung up")
        self._begun = self._last_word_said = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        sending = asyncio.ensure_future(self._send(send))
        gone = asyncio.ensure_future(disconnected(receive))
        left_s = self._deadline.remaining_s() + _GRACE_S
        try:
            await asyncio.wait(
                (sending, gone, self._interruption.future),
                timeout=left_s if left_s < float("inf") else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            cut_by = None if sending.done() or gone.done() else self._why_cut()
            if not sending.done():
                sending.cancel()
                await asyncio.wait((sending,))
            elif not sending.cancelled() and (error := sending.exception()) is not None:
                self._ended_by = error
                raise error
            if cut_by is not None and not self._last_word_said:
                self._ended_by = cut_by
                if self._begun:
                    await self._say_last_word(send, cut_by)
        finally:
            gone.cancel()
            if not sending.done():  # this task itself was cancelled
                sending.cancel()
                await asyncio.wait((sending,))
            try:
                await self._answer.tokens.aclose()
            finally:
                self._on_close(self._ended_by)

    def _why_cut(self) -> RagError:
        error = self._interruption.error
        return error if error is not None else DeadlineExceeded("sending the answer to a reader that stalls")

    async def _say_last_word(self, send: Send, error: RagError) -> None:
        """The error event of a stream that was cut, if its reader takes it."""
        try:
            async with asyncio.timeout(_LAST_WORD_S):
                body = self._frames.error(error.reason, str(error))
                await send({"type": "http.response.body", "body": body, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            return

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        self._begun = True
        frames = self._frames
        await send({"type": "http.response.body", "body": frames.opening(), "more_body": True})
        failure: Exception | None = None
        try:
            async for text in self._answer.tokens:
                await send({"type": "http.response.body", "body": frames.token(text), "more_body": True})
        except RagError as error:
            failure, last = error, frames.error(error.reason, str(error))
        except Exception as error:
            failure, last = (
                error,
                frames.error("internal_error", "the answer failed for an unexpected reason"),
            )
        else:
            last = frames.done()
        await send({"type": "http.response.body", "body": last, "more_body": True})
        self._last_word_said = True
        self._ended_by = failure
        if failure is None:
            self._on_done()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
