"""vLLM's HTTP face over the engine: chat completions, models, health and metrics.

Chat completions are a plain ASGI endpoint: response objects would add a task and several copies to every
token, and the simulator must not be what an experiment measures.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from uuid import UUID

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rag_service.model_server import extractive, openai
from rag_service.model_server.admin import Gate, admin_routes
from rag_service.model_server.engine import Engine, Generation
from rag_service.model_server.fault_set import FaultSet
from rag_service.model_server.faults import EndAnswer, Ending, Fault, Wire
from rag_service.model_server.prompt import parse_prompt
from rag_service.model_server.scheduler import PromptTooLong, QueueFull

MAX_BODY_BYTES = 4 * 1024 * 1024

_ALLOWED = "POST /v1/chat/completions, GET /v1/models, GET /health, GET /metrics, /admin/faults, /admin/state"
_SSE_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
_JSON_HEADERS = [(b"content-type", b"application/json")]


class ChatCompletions:
    """The endpoint that generates."""

    def __init__(
        self,
        engine: Engine,
        model: str,
        clock: Callable[[], float],
        new_id: Callable[[], UUID],
        faults: FaultSet,
    ) -> None:
        self._engine = engine
        self._faults = faults
        self._model = model
        self._clock = clock
        self._new_id = new_id

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        self._engine.received += 1
        request = openai.parse_request(await _body(receive))
        if request.model != self._model:
            message = f"The model `{request.model}` does not exist."
            raise openai.ApiError(404, "NotFoundError", message, "model")
        drawn = self._faults.draw()
        for fault in drawn:
            if (refusal := fault.refusal()) is not None:
                raise refusal
        async with _until_hang_up(receive):
            try:
                self._engine.check_room()
                completion = openai.complete(request, extractive.answer(parse_prompt(request.question)))
                prompt = [word for message in request.messages for word in message.text.split()]
                answer = self._stream if request.stream else self._whole
                async with self._engine.generate(
                    prompt, len(completion.tokens), completion.finish_reason, stepwise=bool(drawn)
                ) as generation:
                    await answer(generation, completion, request, drawn, send)
            except QueueFull as error:
                raise openai.ApiError(
                    503, "ServiceUnavailableError", f"The server is overloaded: {error}."
                ) from None
            except PromptTooLong as error:
                raise openai.ApiError(400, "BadRequestError", str(error)) from None

    async def _stream(
        self,
        generation: Generation,
        completion: openai.Completion,
        request: openai.ChatRequest,
        faults: tuple[Fault, ...],
        send: Send,
    ) -> None:
        with_usage = request.stream_options is not None and request.stream_options.include_usage
        encoder = openai.ChunkEncoder(self._id(), int(self._clock()), self._model, usage=with_usage)
        await send({"type": "http.response.start", "status": 200, "headers": _SSE_HEADERS})
        opening = encoder.role()
        usage = encoder.usage(completion.usage) if with_usage else b""
        ending = encoder.finish(completion.finish_reason) + usage + openai.DONE
        try:
            async with aclosing(_tokens(generation, completion, faults, _Events(send))) as tokens:
                async for token in tokens:
                    await _write(send, opening + encoder.token(token))
                    opening = b""
        except EndAnswer as ended:
            if ended.ending is Ending.CUT:
                await _write(send, opening)
                return  # a body that is left unfinished closes the connection
            ending = b"" if ended.ending is Ending.TRUNCATED else encoder.finish("abort") + openai.DONE
        await send({"type": "http.response.body", "body": opening + ending})

    async def _whole(
        self,
        generation: Generation,
        completion: openai.Completion,
        _: openai.ChatRequest,
        faults: tuple[Fault, ...],
        send: Send,
    ) -> None:
        said: list[str] = []
        ended: Ending | None = None
        try:
            async with aclosing(_tokens(generation, completion, faults, _Nothing())) as tokens:
                async for token in tokens:
                    said.append(token)
        except EndAnswer as end:
            ended = end.ending
        reason: openai.FinishReason = "abort" if ended is not None else completion.finish_reason
        spoken = openai.Completion(tuple(said), reason, completion.prompt_tokens)
        body = json.dumps(
            openai.completion_body(self._id(), int(self._clock()), self._model, spoken)
        ).encode()
        await send({"type": "http.response.start", "status": 200, "headers": _JSON_HEADERS})
        if ended is Ending.CUT:
            await _write(send, body[: len(body) // 2])
            return
        if ended is Ending.TRUNCATED:
            body = body[: len(body) // 2]
        await send({"type": "http.response.body", "body": body})

    def _id(self) -> str:
        return f"chatcmpl-{self._new_id().hex}"


async def _tokens(
    generation: Generation, completion: openai.Completion, faults: tuple[Fault, ...], wire: Wire
) -> AsyncGenerator[str, None]:
    """The tokens as they become due; faults are asked before each, and once more after the last."""
    if not faults:
        position = 0
        async for count in generation:
            for token in completion.tokens[position : position + count]:
                yield token
            position += count
        return
    await generation.admitted()
    for position, token in enumerate(completion.tokens):
        for fault in faults:
            await fault.before_token(position, wire)
        await anext(generation)
        yield token
    for fault in faults:
        await fault.before_token(len(completion.tokens), wire)


class _Events:
    """A stream, as faults may touch it."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def write(self, event: bytes) -> None:
        await _write(self._send, event)


class _Nothing:
    """An answer in one piece has no place between its tokens."""

    async def write(self, event: bytes) -> None:
        """Nothing to write to."""


async def _write(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


def make_app(
    engine: Engine,
    model: str,
    clock: Callable[[], float],
    new_id: Callable[[], UUID],
    faults: FaultSet,
    gate: Gate,
) -> Starlette:
    """The application: `clock` gives Unix time for `created`, `new_id` names completions."""
    started_s = int(clock())

    async def health(_: Request) -> Response:
        return Response()

    async def models(_: Request) -> Response:
        card = {"id": model, "object": "model", "created": started_s, "owned_by": "ragquake", "root": model}
        return JSONResponse({"object": "list", "data": [card]})

    async def metrics(_: Request) -> Response:
        return PlainTextResponse(render_metrics(engine, model), media_type="text/plain; version=0.0.4")

    chat = ChatCompletions(engine, model, clock, new_id, faults)
    routes = [
        Route("/health", health),
        Route("/v1/models", models),
        Route("/metrics", metrics),
        Route("/v1/chat/completions", chat, methods=["POST"]),
        *admin_routes(engine, faults, gate),
    ]
    return Starlette(
        routes=routes, exception_handlers={openai.ApiError: _on_api_error, HTTPException: _on_http}
    )


def render_metrics(engine: Engine, model: str) -> str:
    """The engine's counts in Prometheus' text format, under vLLM's names."""
    load = engine.load
    label = f'model_name="{model}"'
    rows = [
        ("num_requests_running", "gauge", "Requests that generate now.", [(label, load.running)]),
        ("num_requests_waiting", "gauge", "Requests that wait for a place.", [(label, load.waiting)]),
        ("prompt_tokens_total", "counter", "Tokens read.", [(label, engine.prompt_tokens)]),
        ("generation_tokens_total", "counter", "Tokens generated.", [(label, engine.generation_tokens)]),
        (
            "request_success_total",
            "counter",
            "Requests by how they ended.",
            [(f'{label},finished_reason="{reason}"', number) for reason, number in engine.finished.items()],
        ),
    ]
    lines: list[str] = []
    for name, kind, meaning, samples in rows:
        lines += [f"# HELP vllm:{name} {meaning}", f"# TYPE vllm:{name} {kind}"]
        lines += [f"vllm:{name}{{{labels}}} {value}" for labels, value in samples]
    return "\n".join(lines) + "\n"


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


async def _body(receive: Receive) -> bytes:
    received = bytearray()
    more = True
    while more:
        message = await receive()
        received += message.get("body", b"")
        more = message.get("more_body", False)
        if len(received) > MAX_BODY_BYTES:
            raise openai.ApiError(413, "BadRequestError", f"The body is larger than {MAX_BODY_BYTES} bytes.")
    return bytes(received)


async def _on_api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, openai.ApiError)
    return JSONResponse(error.body(), status_code=error.code, headers=error.headers)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = "NotFoundError" if error.status_code == 404 else "BadRequestError"
    message = f"{request.method} {request.url.path}: {error.detail}; allowed: {_ALLOWED}"
    return JSONResponse(
        openai.ApiError(error.status_code, kind, message).body(), status_code=error.status_code
    )
