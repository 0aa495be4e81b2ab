"""`POST /v1/answers`: admit, answer up to the first token, then JSON or a stream of events.

The first token is primed before any response starts, because Starlette sends its status 200 before it
pulls the first chunk: what fails until then becomes another rung or an honest HTTP status. Every answer
says its outcome three times: in the body, in `X-RAG-Outcome`, on the request's span.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from opentelemetry.trace import Span
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from rag_service.api import sse
from rag_service.api.admission import Admission, Ticket
from rag_service.api.patience import while_connected
from rag_service.api.schema import (
    DEADLINE_HEADER,
    MAX_BODY_BYTES,
    AnswerRequest,
    BadRequest,
    parse_body,
    parse_deadline_s,
)
from rag_service.degradation import Outcome
from rag_service.errors import DeadlineExceeded, DependencyTimeout, RagError, Rejected
from rag_service.pipeline import Answer, Pipeline, Question
from rag_service.resilience.deadline import Deadline, set_deadline
from rag_service.telemetry import names
from rag_service.telemetry.metrics import Metrics
from rag_service.telemetry.server import request_span
from rag_service.telemetry.tracing import fail

OUTCOME_HEADER = "X-RAG-Outcome"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long callers wait by default and at most; None: as long as it takes (resilience off)."""

    default_s: float | None
    max_s: float

    def deadline(self, header: str | None) -> Deadline:
        patience_s = parse_deadline_s(header, default_s=self.default_s or self.max_s, max_s=self.max_s)
        return Deadline.after(patience_s) if self.default_s is not None else Deadline.never()


class Answers:
    """The route's handler."""

    def __init__(
        self, pipeline: Pipeline, admission: Admission, patience: Patience, metrics: Metrics
    ) -> None:
        self._pipeline = pipeline
        self._admission = admission
        self._patience = patience
        self._metrics = metrics

    async def __call__(self, request: Request) -> Response:
        span = request_span(request.scope)
        try:
            deadline = self._patience.deadline(request.headers.get(DEADLINE_HEADER))
            asked = parse_body(await _read_body(request))
            ticket = self._admission.admit(asked.criticality)
        except BadRequest as error:
            return self._bad(error, span)
        except RagError as error:
            return self._failed(error, span)
        set_deadline(deadline)
        response: Response | None = None
        try:
            work = self._stream(asked, ticket, span) if asked.stream else self._whole(asked, span)
            response = await while_connected(request, work)
            return response
        except RagError as error:
            return self._failed(error, span)
        except ClientDisconnect:
            span.set_attribute(names.ERROR_TYPE, "client_disconnected")
            return Response(status_code=499)
        finally:
            if not isinstance(response, sse.AnswerStream):  # a stream keeps its ticket to its end
                ticket.give_back()

    async def _whole(self, asked: AnswerRequest, span: Span) -> Response:
        answer = await self._pipeline.answer(Question(asked.question, asked.top_k))
        self._describe(answer, span)
        try:
            text = "".join([token async for token in answer.tokens])
        finally:
            await answer.tokens.aclose()
        self._completed(answer, span)
        body = {"answer": text} | _head(answer, span) | {"timings_ms": answer.timings.total()}
        return JSONResponse(body, headers={OUTCOME_HEADER: answer.outcome})

    async def _stream(self, asked: AnswerRequest, ticket: Ticket, span: Span) -> Response:
        answer = await self._pipeline.answer(Question(asked.question, asked.top_k))
        self._describe(answer, span)

        def done() -> dict[str, Any]:
            self._completed(answer, span)
            return {
                "outcome": answer.outcome,
                "degraded": _degraded(answer),
                "finish_reason": answer.tokens.finish_reason,
                "timings_ms": answer.timings.total(),
            }

        return sse.AnswerStream(
            answer,
            headers={OUTCOME_HEADER: answer.outcome},
            meta=_head(answer, span),
            done=done,
            failed=lambda error: self._note_failure(error, Outcome.ERROR, span),
            on_close=ticket.give_back,
        )

    def _describe(self, answer: Answer, span: Span) -> None:
        """What is certain at the commit point, on the request's span."""
        span.set_attribute(names.OUTCOME, answer.outcome)
        span.set_attribute(
            names.DEGRADED_REASON, ",".join(dict.fromkeys(loss.reason for loss in answer.losses))
        )
        span.set_attribute(
            names.DEGRADED_SEGMENTS, list(dict.fromkeys(loss.segment for loss in answer.losses))
        )
        span.set_attribute(names.CONTEXT_DOCUMENT_COUNT, len(answer.passages))

    def _completed(self, answer: Answer, span: Span) -> None:
        span.set_attribute(names.STREAM_COMPLETED, True)
        self._metrics.answers[answer.outcome] += 1
        for loss in answer.losses:
            self._metrics.degraded[loss.segment, loss.reason] += 1

    def _note_failure(self, error: Exception, outcome: Outcome, span: Span) -> None:
        fail(span, error)
        span.set_attribute(names.OUTCOME, outcome)
        self._metrics.answers[outcome] += 1

    def _failed(self, error: RagError, span: Span) -> Response:
        """An honest status for what no rung could answer: refused (503), too late (504), or failed (502)."""
        headers: dict[str, str] = {}
        outcome = Outcome.ERROR
        if isinstance(error, Rejected):
            status, outcome = 503, Outcome.REFUSED
            headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
        elif isinstance(error, (DeadlineExceeded, DependencyTimeout)):
            status = 504
        else:
            status = 502
        self._note_failure(error, outcome, span)
        body = {"error": {"code": error.reason, "message": str(error)}} | _ending(outcome, span)
        return JSONResponse(body, status, headers | {OUTCOME_HEADER: outcome})

    def _bad(self, error: BadRequest, span: Span) -> Response:
        span.set_attribute(names.ERROR_TYPE, str(error.status))
        body = error.body() | _ending(Outcome.ERROR, span)
        return JSONResponse(body, error.status, {OUTCOME_HEADER: Outcome.ERROR})


async def _read_body(request: Request) -> bytes:
    """The body, at most `MAX_BODY_BYTES` of it. Raises BadRequest (413)."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise BadRequest(413, f"the body is longer than the {MAX_BODY_BYTES} bytes allowed")
    return bytes(body)


def _trace_id(span: Span) -> str:
    return f"{span.get_span_context().trace_id:032x}"


def _degraded(answer: Answer) -> list[dict[str, str]]:
    return [
        {"segment": loss.segment, "reason": loss.reason, "fallback": loss.fallback} for loss in answer.losses
    ]


def _head(answer: Answer, span: Span) -> dict[str, Any]:
    """What is known before the text: the `meta` event, and the head of a JSON answer."""
    citations = [
        {"id": passage.id, "score": round(passage.score, 6), "title": passage.title}
        for passage in answer.passages
    ]
    return {
        "outcome": answer.outcome,
        "degraded": _degraded(answer),
        "citations": citations,
        "trace_id": _trace_id(span),
    }


def _ending(outcome: Outcome, span: Span) -> dict[str, Any]:
    return {"outcome": outcome, "degraded": [], "trace_id": _trace_id(span)}
