"""One SERVER span per answer, from the first byte in to the last byte out.

Pure ASGI, because only there is the end of a stream visible: a span around the handler would end with the
headers. It continues the caller's trace, copies the journey's baggage, and is numbered as it ends.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from opentelemetry import baggage, context, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from rag_service.telemetry import names
from rag_service.telemetry.tracing import Telemetry

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SPAN_KEY = "rag.request_span"
_TRACE = TraceContextTextMapPropagator()
_BAGGAGE = W3CBaggagePropagator()


def request_span(scope: Scope) -> Span:
    """The request's SERVER span (a span that records nothing outside of the traced route)."""
    span: Span = scope.get(SPAN_KEY, trace.INVALID_SPAN)
    return span


class RequestSpans:
    """ASGI middleware that traces the two ways to ask, and nothing else."""

    def __init__(
        self, app: App, telemetry: Telemetry, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._app = app
        self._telemetry = telemetry
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = f"{scope['method']} {scope['path']}" if scope["type"] == "http" else ""
        if name not in names.REQUEST_SPANS:
            await self._app(scope, receive, send)
            return
        started = self._clock()
        span = self._start(name, scope)
        scope[SPAN_KEY] = span
        first_chunk = False

        async def traced_send(message: Message) -> None:
            nonlocal first_chunk
            if message["type"] == "http.response.start":
                _describe_response(span, message["status"])
            elif not first_chunk and message.get("body"):
                first_chunk = True
                span.set_attribute(names.RESPONSE_FIRST_CHUNK, self._clock() - started)
            await send(message)

        token = context.attach(trace.set_span_in_context(span))
        try:
            await self._app(scope, receive, traced_send)
        except BaseException as error:
            span.set_attribute(names.ERROR_TYPE, type(error).__name__)
            _mark_failed(span)
            raise
        finally:
            context.detach(token)
            self._telemetry.end_request(span)

    def _start(self, name: str, scope: Scope) -> Span:
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        parent = _BAGGAGE.extract(headers, _TRACE.extract(headers, context.Context()))
        server, client = scope.get("server") or ("", 0), scope.get("client") or ("", 0)
        attributes: dict[str, Any] = {
            "http.request.method": scope["method"],
            "http.route": scope["path"],
            "url.path": scope["path"],
            "url.scheme": scope.get("scheme", "http"),
            "network.protocol.version": scope.get("http_version", "1.1"),
            "server.address": server[0],
            "server.port": server[1],
            "client.address": client[0],
            # what holds until the route says better: an answer that never came about
            names.OUTCOME: "error",
            names.RUNG: "",
            names.DEGRADED_REASON: "",
            names.DEGRADED_SEGMENTS: (),
            names.CONTEXT_DOCUMENT_COUNT: 0,
            names.STREAM_COMPLETED: False,
        }
        for key in names.BAGGAGE_KEYS:
            if value := baggage.get_baggage(key, parent):
                attributes[key] = str(value)
        return self._telemetry.tracer.start_span(
            name, context=parent, kind=SpanKind.SERVER, attributes=attributes
        )


def _describe_response(span: Span, status: int) -> None:
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        _mark_failed(span)


def _mark_failed(span: Span) -> None:
    """Unless it is already, with a description that a second status would take away."""
    if not (isinstance(span, ReadableSpan) and span.status.status_code is StatusCode.ERROR):
        span.set_status(Status(StatusCode.ERROR))
