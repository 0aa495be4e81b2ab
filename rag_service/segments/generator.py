"""The `generate` segment: a token stream from any OpenAI-compatible server.

Always streamed, also when the caller wants JSON: only a stream shows whether the first token comes in
time and whether tokens keep coming. `start` returns when the first token is there (the commit point): until
then a failure may be retried or answered by another rung, afterwards only an error event is honest. Closing
the stream closes the upstream connection, which is how vLLM frees the request's slot.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
from opentelemetry.trace import Span, SpanKind, Tracer
from pydantic_core import from_json

from rag_service.errors import BadResponse, ConnectionBroken, DependencyTimeout, StreamFailed
from rag_service.resilience.deadline import Clock, Limit, current_deadline
from rag_service.resilience.policy import Attempt, Guard
from rag_service.resilience.pushback import status_error
from rag_service.resilience.stream import Delta, TokenGuard, Usage
from rag_service.segments.context import Prompt
from rag_service.segments.event_stream import EventStream, EventTooLong
from rag_service.segments.http import Endpoint, translate
from rag_service.telemetry import names
from rag_service.telemetry.tracing import fail

NAME = "llm"
_DRAIN_S = 0.05


@dataclass(frozen=True, slots=True)
class GenerationPolicy:
    """Limits on one generation; the total comes from the request's deadline."""

    first_token_s: float
    token_gap_s: float
    reserve_s: float
    max_tokens: int


class TokenStream:
    """An answer under way: its first token has arrived. Iterate for the text; always `aclose`."""

    def __init__(self, guard: TokenGuard, attempt: Attempt, response: httpx.Response, span: Span) -> None:
        self._guard = guard
        self._attempt = attempt
        self._response = response
        self._span = span
        self._error: BaseException | None = None
        self._closed = False

    @property
    def finish_reason(self) -> str | None:
        return self._guard.finish_reason

    @property
    def usage(self) -> Usage | None:
        return self._guard.usage

    @property
    def tokens(self) -> int:
        return self._guard.tokens

    def __aiter__(self) -> TokenStream:
        return self

    async def __anext__(self) -> str:
        try:
            return await anext(self._guard)
        except StopAsyncIteration:
            self._attempt.succeed()
            raise
        except ConnectionBroken as error:
            self._error = error
            raise StreamFailed(NAME, "the stream was cut in mid-answer", reason="llm_stream_cut") from error
        except BaseException as error:
            self._error = error
            raise

    async def aclose(self) -> None:
        """Settle the breaker's permit, free the place, hang up, end the span. Safe to call twice.

        The span ends last, so that its end says when the model server could have the slot back.
        """
        if self._closed:
            return
        self._closed = True
        self._guard.close()
        finished = self.finish_reason is not None and self._error is None
        if not finished and self._error is None:
            self._error = asyncio.CancelledError("the caller hung up")
        if self._error is None:
            self._attempt.succeed()
        else:
            self._attempt.fail(self._error)
            fail(self._span, self._error)
        self._attempt.free_place()
        _describe_ending(self._span, self._guard)
        try:
            await self._response.aclose()
        finally:
            self._span.end()


def _describe_ending(span: Span, guard: TokenGuard) -> None:
    if guard.finish_reason is not None:
        span.set_attribute(names.FINISH_REASONS, [guard.finish_reason])
    if guard.usage is not None:
        span.set_attribute(names.INPUT_TOKENS, guard.usage.input_tokens)
        span.set_attribute(names.OUTPUT_TOKENS, guard.usage.output_tokens)
    else:
        span.set_attribute(names.OUTPUT_TOKENS, guard.tokens)


class Generator:
    """Client of the model server."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        endpoint: Endpoint,
        guard: Guard,
        policy: GenerationPolicy,
        *,
        model: str,
        tracer: Tracer,
        clock: Clock,
    ) -> None:
        self._client = client
        self._guard = guard
        self._policy = policy
        self._model = model
        self._tracer = tracer
        self._clock = clock
        self._attributes = endpoint.attributes() | {
            names.OPERATION: "chat",
            names.PROVIDER: "vllm",
            names.REQUEST_MODEL: model,
            names.REQUEST_STREAM: True,
        }

    async def start(self, prompt: Prompt, max_tokens: int | None = None) -> TokenStream:
        """A stream whose first token has arrived. Raises RagError; then nothing has been said yet.

        `max_tokens` can only lower the policy's.
        """
        most = min(max_tokens or self._policy.max_tokens, self._policy.max_tokens)

        async def attempt(attempt: Attempt) -> TokenStream:
            return await self._attempt(prompt, most, attempt)

        return await self._guard.run(attempt, current_deadline(), hold=True)

    async def _attempt(self, prompt: Prompt, max_tokens: int, attempt: Attempt) -> TokenStream:
        policy = self._policy
        limit = current_deadline().limit(
            policy.first_token_s, doing="waiting for the first token", reserve_s=policy.reserve_s
        )
        span = self._tracer.start_span(
            f"chat {self._model}",
            kind=SpanKind.CLIENT,
            attributes=self._attributes
            | {names.ATTEMPT: attempt.number, names.REQUEST_MAX_TOKENS: max_tokens},
        )
        response: httpx.Response | None = None
        tokens: TokenGuard | None = None
        started = self._clock()
        try:
            response = await self._send(prompt, max_tokens, limit)
            tokens = TokenGuard(
                NAME, _deltas(response), gap_s=policy.token_gap_s, deadline=current_deadline()
            )
            left_s = max(0.0, limit.limit_s - (self._clock() - started))
            await tokens.prime(Limit(left_s, limit.by_deadline))
        except BaseException as error:
            fail(span, error)
            try:
                if tokens is not None:
                    tokens.close()
                if response is not None:
                    await response.aclose()
            finally:
                span.end()
            raise
        span.set_attribute(names.CHAT_FIRST_CHUNK, self._clock() - started)
        if attempt.limit is not None:
            span.set_attribute(names.LIMITER_LIMIT, attempt.limit)
        attempt.first_result()
        return TokenStream(tokens, attempt, response, span)

    async def _send(self, prompt: Prompt, max_tokens: int, limit: Limit) -> httpx.Response:
        body = {
            "model": self._model,
            "messages": [
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": prompt.user},
            ],
            "max_tokens": max_tokens,
            "temperature": 0.0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        request = self._client.build_request("POST", "chat/completions", json=body)
        try:
            async with asyncio.timeout(limit.limit_s):
                response = await self._client.send(request, stream=True)
                if response.status_code == 200:
                    return response
                try:
                    detail = (await response.aread()).decode("utf-8", "replace")
                finally:
                    await response.aclose()
        except TimeoutError:
            raise DependencyTimeout(NAME, limit.limit_s, by_deadline=limit.by_deadline) from None
        except httpx.HTTPError as error:
            raise translate(NAME, error) from error
        retry_after = response.headers.get("retry-after")
        raise status_error(NAME, response.status_code, retry_after=retry_after, body=detail)


async def _deltas(response: httpx.Response) -> AsyncIterator[Delta]:
    """The stream's events up to `[DONE]`; comments (pings) never become one."""
    kind = response.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "text/event-stream":
        raise BadResponse(NAME, f"its content type is {kind[:100]!r}, not text/event-stream")
    chunks = aiter(_body(response))
    events = EventStream()
    try:
        async for chunk in chunks:
            for data in events.feed(chunk):
                if data == b"[DONE]":
                    await _drain(chunks)
                    return
                yield _read(data)
    except httpx.HTTPError as error:
        raise translate(NAME, error) from error
    except EventTooLong as error:
        raise BadResponse(NAME, str(error)) from error


def _body(response: httpx.Response) -> AsyncIterable[bytes]:
    """The body's bytes; without httpx's counting and cutting, which each token would pay for, if it may."""
    if "content-encoding" in response.headers or not isinstance(response.stream, httpx.AsyncByteStream):
        return response.aiter_bytes()
    return response.stream


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Read to the body's end, which follows at once: only then can the connection be used again.

    A connection that breaks here takes nothing from the answer, which is whole already.
    """
    with contextlib.suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(_DRAIN_S):
            async for _ in chunks:
                pass


def _read(data: bytes) -> Delta:
    try:
        chunk: dict[str, Any] = from_json(data)
        if (reported := chunk.get("error")) is not None:
            raise StreamFailed(NAME, f"the server reports {str(reported)[:200]}", reason="llm_error")
        usage = chunk.get("usage")
        counted = Usage(int(usage["prompt_tokens"]), int(usage["completion_tokens"])) if usage else None
        if not chunk["choices"]:
            return Delta(usage=counted)
        choice = chunk["choices"][0]
        text, ending = choice["delta"].get("content"), choice.get("finish_reason")
        if not isinstance(text, str | None) or not isinstance(ending, str | None):
            raise TypeError("content and finish_reason are text or null")
        return Delta(text or "", ending, counted)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise BadResponse(NAME, f"not a completion chunk: {data[:100]!r}") from error
