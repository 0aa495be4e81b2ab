"""The endpoints that generate: chat and text completions, streamed or whole.

They are plain ASGI: response objects would add a task and several copies to every token, and the simulator
must not be what an experiment measures. All tokens that are due go out in one write, one event each; a reader
that is slower than the model is waited for, and what it has not read costs no memory, because an answer is
its tokens and a count.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from uuid import UUID

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from rag_service.model_server import extractive
from rag_service.model_server.completion import Completion, complete, output_limit
from rag_service.model_server.engine import Engine, Generation
from rag_service.model_server.fault_set import FaultSet
from rag_service.model_server.faults import EndAnswer, Ending, Fault, Wire
from rag_service.model_server.openai_answers import Events, whole_body
from rag_service.model_server.openai_errors import ApiError, no_such_model, queue_full, too_long, unreadable
from rag_service.model_server.openai_requests import CompletionRequest, parse_request
from rag_service.model_server.prompt import parse_prompt
from rag_service.model_server.scheduler import PromptTooLong, QueueFull

MAX_BODY_BYTES = 4 * 1024 * 1024

#: Events in one write at most: about 16 KB, so that a reader who comes back late is served in bites.
_MOST_EVENTS = 64
_SSE_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
_JSON_HEADERS = [(b"content-type", b"application/json")]


class Completions:
    """One endpoint; `kind` is the request that it takes."""

    def __init__(
        self,
        kind: type[CompletionRequest],
        engine: Engine,
        model: str,
        clock: Callable[[], float],
        new_id: Callable[[], UUID],
        faults: FaultSet,
    ) -> None:
        self._kind = kind
        self._engine = engine
        self._model = model
        self._clock = clock
        self._new_id = new_id
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._engine.received += 1
        headers = Headers(scope=scope)
        _check_type(headers.get("content-type", ""))
        request = parse_request(self._kind, await _body(receive))
        if request.model and request.model != self._model:
            raise no_such_model(request.model, self._model)
        faults = self._faults.draw()
        for fault in faults:
            if (refusal := fault.refusal()) is not None:
                raise refusal
        try:
            self._engine.check_room()
            tokens = request.prompt_tokens()
            limit = output_limit(request, len(tokens), self._engine.limits.max_model_len)
            said = extractive.answer(parse_prompt(request.question))
            completion = complete(request, said, len(tokens), limit)
            generation = self._engine.generate(
                tokens, len(completion.tokens), completion.finish_reason, stepwise=bool(faults)
            )
        except QueueFull:
            raise queue_full() from None
        except PromptTooLong:
            raise too_long(self._engine.limits.max_model_len) from None
        name = self._name(request, headers.get("x-request-id"))
        answer = _Answer(request, completion, name, int(self._clock()), self._model, send)
        async with _until_hang_up(receive), generation:
            if request.stream:
                await answer.stream(generation, faults)
            else:
                await answer.whole(generation, faults)

    def _name(self, request: CompletionRequest, header: str | None) -> str:
        """Callers may name their requests, to find them again."""
        given = request.request_id if header is None else header
        prefix = "chatcmpl" if request.kind == "chat" else "cmpl"
        return f"{prefix}-{self._new_id().hex if given is None else given}"


class _Answer:
    """One answer on its way to the client."""

    def __init__(
        self,
        request: CompletionRequest,
        completion: Completion,
        completion_id: str,
        created: int,
        model: str,
        send: Send,
    ) -> None:
        self._request = request
        self._completion = completion
        self._naming = (completion_id, created, model)
        self._send = send

    async def stream(self, generation: Generation, faults: tuple[Fault, ...]) -> None:
        events = Events(*self._naming, self._request, self._completion)
        total = len(self._completion.tokens)
        await self._send({"type": "http.response.start", "status": 200, "headers": _SSE_HEADERS})
        opening, sent = events.opening(), 0
        try:
            async with aclosing(_paced(generation, total, faults, self)) as paced:
                async for due in paced:
                    while sent < due:
                        end = min(due, sent + _MOST_EVENTS)
                        await self.write(opening + events.tokens(sent, end))
                        opening, sent = b"", end
            ending = events.closing()
        except EndAnswer as ended:
            if ended.ending is Ending.CUT:
                await self.write(opening)
                return  # a body that is left unfinished closes the connection
            if ended.ending is Ending.TRUNCATED:
                ending = b""
            else:  # an answer that is complete can no longer be aborted
                ending = events.aborted(sent) if sent < total else events.closing()
        await self._send({"type": "http.response.body", "body": opening + ending})

    async def whole(self, generation: Generation, faults: tuple[Fault, ...]) -> None:
        said = 0
        ended: Ending | None = None
        completion = self._completion
        try:
            async with aclosing(_paced(generation, len(completion.tokens), faults, _Nowhere())) as paced:
                async for due in paced:
                    said = due
        except EndAnswer as error:
            ended = error.ending
        if ended is not None and said < len(completion.tokens):
            completion = completion.aborted(said)
        body = whole_body(*self._naming, self._request, completion)
        headers = [*_JSON_HEADERS, (b"content-length", str(len(body)).encode())]
        if ended is Ending.TRUNCATED:  # half of the object, and well framed
            body = body[: len(body) // 2]
            headers = _JSON_HEADERS
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        if ended is Ending.CUT:
            await self.write(body[: len(body) // 2])
            return
        await self._send({"type": "http.response.body", "body": body})

    async def write(self, event: bytes) -> None:
        """Bytes of the body, more to come. Waits while the reader is behind."""
        await self._send({"type": "http.response.body", "body": event, "more_body": True})


class _Nowhere:
    """An answer in one piece has no place between its tokens."""

    async def write(self, event: bytes) -> None:
        """Nothing to write to."""


async def _paced(
    generation: Generation, total: int, faults: tuple[Fault, ...], wire: Wire
) -> AsyncGenerator[int, None]:
    """How many tokens are due in all, each time that more are. Faults act before each, and after the last.

    With faults the generation is stepwise: the engine computes a token when it is asked for, so whatever a
    fault waits for delays everything behind it.
    """
    due = 0
    if not faults:
        async for count in generation:
            due += count
            yield due
        return
    await generation.admitted()
    for position in range(total):
        for fault in faults:
            await fault.before_token(position, wire)
        due += await anext(generation)
        yield due
    for fault in faults:
        await fault.before_token(total, wire)


@asynccontextmanager
async def _until_hang_up(receive: Receive) -> AsyncIterator[None]:
    """Ends the block when the client hangs up, wherever it waits: in the queue, for a token, to send."""
    worker = asyncio.current_task()
    hung_up = False

    async def watch() -> None:
        nonlocal hung_up
        while (await receive())["type"] != "http.disconnect":
            pass
        hung_up = True
        if worker is not None:
            worker.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if not hung_up or worker is None:
            raise
        worker.uncancel()
    finally:
        watcher.cancel()


def _check_type(content_type: str) -> None:
    """vLLM reads bodies that call themselves JSON, and no others."""
    if content_type.lower().partition(";")[0].strip() != "application/json":
        raise unreadable("1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed")


async def _body(receive: Receive) -> bytes:
    received = bytearray()
    more = True
    while more:
        message = await receive()
        received += message.get("body", b"")
        more = message.get("more_body", False)
        if len(received) > MAX_BODY_BYTES:
            raise ApiError(413, "BadRequestError", f"The body is larger than {MAX_BODY_BYTES} bytes.")
    return bytes(received)
