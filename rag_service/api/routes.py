"""Paths, handlers and the OpenAPI description of both."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from rag_service.api.answers import Answers
from rag_service.api.operations import Operations
from rag_service.api.schema import AnswerRequest

_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": AnswerRequest.model_json_schema()}},
    }
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "An answer, as JSON or (`stream`) as server-sent events; see `outcome`."},
    400: {"description": "A header is wrong."},
    413: {"description": "The body is too long."},
    422: {"description": "A field of the body is wrong."},
    502: {"description": "A dependency failed and nothing could stand in for it."},
    503: {"description": "Refused; see `Retry-After`."},
    504: {"description": "Too late for the caller's deadline."},
}


def add_routes(app: FastAPI, answers: Answers, operations: Operations) -> None:
    """Bodies are read and judged by `api.schema`, with a size limit and errors in the service's own form."""

    @app.post("/v1/answers", responses=_ANSWERS, openapi_extra=_BODY, summary="Answer a question")
    async def post_answers(request: Request) -> Response:
        return await answers(request)

    @app.get("/healthz", summary="The process lives")
    async def healthz(request: Request) -> Response:
        return await operations.healthz(request)

    @app.get("/readyz", summary="Answers can be given, perhaps degraded")
    async def readyz(request: Request) -> Response:
        return await operations.readyz(request)

    @app.get("/v1/breakers", summary="Breakers and their states")
    async def breakers(request: Request) -> Response:
        return await operations.list_breakers(request)

    @app.get("/metrics", summary="Prometheus metrics")
    async def metrics(request: Request) -> Response:
        return await operations.prometheus(request)

    @app.post("/v1/telemetry/flush", summary="Export all spans and logs that have ended (loopback only)")
    async def flush(request: Request) -> Response:
        return await operations.flush(request)
