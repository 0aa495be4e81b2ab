"""Answers one question, whichever way it was asked: admit, answer to the first token, then JSON or a stream.

The first token is primed before any response starts, because Starlette sends its status 200 before it
pulls the first chunk: what fails until then becomes another rung or an honest HTTP status. Every answer
says its outcome three times: in the body, in `X-RAG-Outcome`, on the request's span.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass
from typing import Final

from opentelemetry.trace import Span
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from rag_service.api.admission import Admission, Ticket
from rag_service.api.body import read_json_body
from rag_service.api.drain import Drain
from rag_service.api.face import Exchange, Face, Refusal, Told
from rag_service.api.patience import Interruption, unless_interrupted, while_connected
from rag_service.api.schema import DEADLINE_HEADER, BadRequest, parse_deadline_s
from rag_service.api.sse import AnswerStream
from rag_service.degradation import REFUSAL, Need, Outcome
from rag_service.errors import DeadlineExceeded, DependencyTimeout, RagError, Rejected
from rag_service.pipeline import Answer, Pipeline, Question
from rag_service.resilience.deadline import Deadline, set_deadline
from rag_service.telemetry import names
from rag_service.telemetry.metrics import Metrics
from rag_service.telemetry.server import request_span
from rag_service.telemetry.tracing import fail

OUTCOME_HEADER: Final = "X-RAG-Outcome"
RUNG_HEADER: Final = "X-RAG-Rung"
REQUEST_ID_HEADER: Final = "X-Request-Id"
CLIENT_GONE: Final = "client_disconnected"
#: After these the rest of the request's body is not read on.
_CLOSING: Final = frozenset({408, 413})
_CLIENT_CLOSED: Final = 499

#: Losses of the model that say it has too much to do; others say nothing about how much it can bear.
_OVERLOAD: Final = frozenset({"http_429", "pushback", "bulkhead_full"})

_log = logging.getLogger("rag_service.api")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long callers wait by default and at most; None: as long as it takes (resilience off)."""

    default_s: float | None
    max_s: float
    body_s: float = 10.0

    def of(self, header: str | None) -> float:
        """How long this caller waits, in seconds, whether the service keeps to it or not."""
        return parse_deadline_s(header, default_s=self.default_s or self.max_s, max_s=self.max_s)

    def deadline(self, patience_s: float) -> Deadline:
        return Deadline.after(patience_s) if self.default_s is not None else Deadline.never()


@dataclass(slots=True)
class _Visit:
    """What one request holds until its response has ended; its ticket from admission on."""

    drain: Drain
    interruption: Interruption
    ticket: Ticket | None
    span: Span

    def end(self) -> None:
        if self.ticket is not None:
            self.ticket.give_back()
        self.drain.leave(self.interruption)


class Answers:
    """The handler of both routes that answer; the face says which dialect."""

    def __init__(
        self, pipeline: Pipeline, admission: Admission, patience: Patience, metrics: Metrics, drain: Drain
    ) -> None:
        self._pipeline = pipeline
        self._admission = admission
        self._patience = patience
        self._metrics = metrics
        self._drain = drain

    @property
    def max_deadline_s(self) -> float:
        return self._patience.max_s

    async def __call__(self, request: Request, face: Face) -> Response:
        span = request_span(request.scope)
        visit: _Visit | None = None
        response: Response | None = None
        try:
            visit = _Visit(self._drain, self._drain.enter(), None, span)
            patience_s = self._patience.of(request.headers.get(DEADLINE_HEADER))
            span.set_attribute(names.DEADLINE, patience_s)
            deadline = self._patience.deadline(patience_s)
            reading = read_json_body(request, timeout_s=self._patience.body_s)
            exchange = face.parse(await unless_interrupted(reading, visit.interruption))
            set_deadline(deadline)
            visit.interruption.asked = True
            visit.ticket = self._admit_now(exchange)
            streamed = exchange.stream
            work = self._stream(exchange, deadline, visit) if streamed else self._whole(exchange, visit)
            response = await while_connected(request.receive, work, visit.interruption)
            return response
        except Exception as error:
            return self._ended(error, face, span)
        finally:
            if visit is not None and not isinstance(response, AnswerStream):
                visit.end()  # a stream keeps its visit to its end

    def _admit_now(self, exchange: Exchange) -> Ticket | None:
        """A ticket unless that is worth waiting for. Raises Overloaded, in microseconds."""
        try:
            return self._admission.admit_now(exchange.criticality)
        except Rejected as error:
            self._metrics.rejected(exchange.criticality, error.reason)
            raise

    async def _answer(self, exchange: Exchange, visit: _Visit) -> Answer:
        """The answer at its commit point; what it took is what the limiter learns from."""
        if visit.ticket is None:
            try:
                visit.ticket = await self._admission.wait(exchange.criticality)
            except Rejected as error:
                self._metrics.rejected(exchange.criticality, error.reason)
                raise
        ticket = visit.ticket
        try:
            answer = await self._pipeline.answer(
                Question(exchange.question, exchange.top_k, pressure=ticket.pressure)
            )
        except DeadlineExceeded:
            ticket.timed_out()
            raise
        reason = answer.lost(Need.LLM)
        if reason in _OVERLOAD:
            ticket.first_token(dropped=True)
        elif reason == "timeout":
            ticket.timed_out()  # the model's limit or the caller's deadline: the loss does not say which
        elif answer.rung.outcome is not Outcome.CACHED and reason is None:
            ticket.first_token()
        return answer

    async def _whole(self, exchange: Exchange, visit: _Visit) -> Response:
        span = visit.span
        answer = await self._answer(exchange, visit)
        told = self._describe(answer, span)
        try:
            text = "".join([token async for token in answer.tokens])
        finally:
            await answer.tokens.aclose()
        self._completed(answer, span)
        return JSONResponse(exchange.whole(told, text), headers=_headers(told))

    async def _stream(self, exchange: Exchange, deadline: Deadline, visit: _Visit) -> Response:
        answer = await self._answer(exchange, visit)
        told = self._describe(answer, visit.span)

        def close(ended_by: BaseException | None) -> None:
            self._stream_ended(ended_by, visit.span)
            visit.end()

        return AnswerStream(
            answer,
            exchange.frames(told),
            headers=_headers(told),
            deadline=deadline,
            interruption=visit.interruption,
            on_done=lambda: self._completed(answer, visit.span),
            on_close=close,
        )

    def _describe(self, answer: Answer, span: Span) -> Told:
        """What is certain at the commit point, on the request's span."""
        span.set_attribute(names.OUTCOME, answer.outcome)
        span.set_attribute(names.RUNG, answer.rung.name)
        if answer.cache_hit:
            span.set_attribute(names.CACHE_HIT, answer.cache_hit)
        span.set_attribute(
            names.DEGRADED_REASON, ",".join(dict.fromkeys(loss.reason for loss in answer.losses))
        )
        span.set_attribute(
            names.DEGRADED_SEGMENTS, list(dict.fromkeys(loss.segment for loss in answer.losses))
        )
        span.set_attribute(names.CONTEXT_DOCUMENT_COUNT, len(answer.passages))
        return Told(answer, _trace_id(span))

    def _completed(self, answer: Answer, span: Span) -> None:
        span.set_attribute(names.STREAM_COMPLETED, True)
        self._metrics.answered(answer.outcome, answer.rung.name)
        for loss in answer.losses:
            self._metrics.degraded(loss.segment, loss.reason)

    def _stream_ended(self, ended_by: BaseException | None, span: Span) -> None:
        if ended_by is None:
            self._metrics.stream_ended("done")
        elif isinstance(ended_by, asyncio.CancelledError):
            span.set_attribute(names.ERROR_TYPE, CLIENT_GONE)
            self._metrics.stream_ended("hung_up")
        else:
            if not isinstance(ended_by, RagError):
                _log.error("a stream failed for an unexpected reason", exc_info=ended_by)
            self._note_failure(ended_by, Outcome.ERROR, span)
            self._metrics.stream_ended("error")

    def _note_failure(self, error: BaseException, outcome: Outcome, span: Span) -> None:
        fail(span, error)
        span.set_attribute(names.OUTCOME, outcome)
        span.set_attribute(names.RUNG, "")  # the rung that the answer had begun on was not its end
        self._metrics.answered(outcome, "")

    def _ended(self, error: Exception, face: Face, span: Span) -> Response:
        """The response of a request that ended before its answer began."""
        if isinstance(error, ClientDisconnect):
            span.set_attribute(names.ERROR_TYPE, CLIENT_GONE)
            return Response(status_code=_CLIENT_CLOSED)
        trace_id = _trace_id(span)
        headers: dict[str, str] = {REQUEST_ID_HEADER: trace_id}
        if isinstance(error, BadRequest):
            span.set_attribute(names.ERROR_TYPE, str(error.status))
            self._metrics.bad_request(error.status)
            refusal = Refusal(error.status, error.code, str(error), Outcome.ERROR, trace_id, wrong=error)
        else:
            refusal = self._refusal(error, trace_id)
            self._note_failure(error, refusal.outcome, span)
        if isinstance(error, Rejected):
            headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
            headers[RUNG_HEADER] = REFUSAL.name
            span.set_attribute(names.RUNG, REFUSAL.name)
        if refusal.status in _CLOSING or self._drain.draining:
            headers["Connection"] = "close"
        headers[OUTCOME_HEADER] = refusal.outcome
        return JSONResponse(face.refusal(refusal), refusal.status, headers)

    def _refusal(self, error: Exception, trace_id: str) -> Refusal:
        """An honest status for what no rung could answer: refused (503), too late (504), or failed (502)."""
        if not isinstance(error, RagError):
            _log.error("an answer failed for an unexpected reason", exc_info=error)
            message = "the answer failed for an unexpected reason; the service's log has it"
            return Refusal(500, "internal_error", message, Outcome.ERROR, trace_id)
        if isinstance(error, Rejected):
            return Refusal(503, error.reason, str(error), Outcome.REFUSED, trace_id)
        late = isinstance(error, (DeadlineExceeded, DependencyTimeout))
        return Refusal(504 if late else 502, error.reason, str(error), Outcome.ERROR, trace_id)


def _headers(told: Told) -> dict[str, str]:
    answer = told.answer
    return {
        OUTCOME_HEADER: answer.outcome,
        RUNG_HEADER: answer.rung.name,
        REQUEST_ID_HEADER: told.trace_id,
    }


def _trace_id(span: Span) -> str:
    return f"{span.get_span_context().trace_id:032x}"
