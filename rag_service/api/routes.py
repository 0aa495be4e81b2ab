"""Paths and handlers; what they promise is in `description.py`."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rag_service.api import description
from rag_service.api.answers import Answers
from rag_service.api.native import NativeFace
from rag_service.api.openai import OpenAIFace
from rag_service.api.operations import Operations


def add_routes(app: FastAPI, answers: Answers, operations: Operations, chat: OpenAIFace) -> None:
    """Bodies are judged by `api.body` and `api.schema`, with limits and errors in the service's own form."""
    native = NativeFace()
    app.add_exception_handler(HTTPException, _http_error)

    @app.post("/v1/answers", **description.answers(answers.max_deadline_s))
    async def post_answers(request: Request) -> Response:
        return await answers(request, native)

    @app.post("/v1/chat/completions", **description.chat(chat.model, answers.max_deadline_s))
    async def post_chat_completions(request: Request) -> Response:
        return await answers(request, chat)

    @app.get("/v1/models", **description.MODELS)
    async def get_models(_: Request) -> Response:
        return JSONResponse(chat.models())

    @app.get("/healthz", **description.HEALTHZ)
    async def get_healthz(request: Request) -> Response:
        return await operations.healthz(request)

    @app.get("/readyz", **description.READYZ)
    async def get_readyz(request: Request) -> Response:
        return await operations.readyz(request)

    @app.get("/v1/breakers", **description.BREAKERS)
    async def get_breakers(request: Request) -> Response:
        return await operations.list_breakers(request)

    @app.get("/metrics", **description.METRICS)
    async def get_metrics(request: Request) -> Response:
        return await operations.prometheus(request)

    @app.post("/v1/telemetry/flush", **description.FLUSH)
    async def post_flush(request: Request) -> Response:
        return await operations.flush(request)


async def _http_error(_: Request, error: Exception) -> Response:
    """No such path, or not with this method: in the service's form too."""
    assert isinstance(error, HTTPException)
    codes = {404: "not_found", 405: "method_not_allowed"}
    body = {"error": {"code": codes.get(error.status_code, "bad_request"), "message": str(error.detail)}}
    return JSONResponse(body, error.status_code, error.headers)
