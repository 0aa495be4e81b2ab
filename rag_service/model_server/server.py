"""vLLM's HTTP face over the engine: what is served where, and how anything else is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from uuid import UUID

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rag_service.model_server.admin import Gate, admin_routes
from rag_service.model_server.completions import Completions
from rag_service.model_server.engine import Engine
from rag_service.model_server.fault_set import FaultSet
from rag_service.model_server.metrics import CONTENT_TYPE, Metrics
from rag_service.model_server.openai_errors import ApiError
from rag_service.model_server.openai_requests import ChatRequest, TextRequest


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
    metrics = Metrics(engine, model)
    engine.observer = metrics
    card = {
        "id": model,
        "object": "model",
        "created": started_s,
        "owned_by": "ragquake",
        "root": model,
        "parent": None,
        "max_model_len": engine.limits.max_model_len,
    }

    async def on_health(_: Request) -> Response:
        _refuse_while_loading(faults)
        return Response()

    async def on_models(_: Request) -> Response:
        _refuse_while_loading(faults)
        return JSONResponse({"object": "list", "data": [card]})

    async def on_version(_: Request) -> Response:
        return JSONResponse({"version": _version()})

    async def on_metrics(_: Request) -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    def completions(kind: type[ChatRequest] | type[TextRequest]) -> Completions:
        return Completions(kind, engine, model, clock, new_id, faults)

    routes = [
        _get("/health", on_health),
        _get("/version", on_version),
        _get("/v1/models", on_models),
        Route("/metrics", on_metrics),
        Route("/v1/chat/completions", completions(ChatRequest), methods=["POST"]),
        Route("/v1/completions", completions(TextRequest), methods=["POST"]),
        *admin_routes(engine, faults, gate),
    ]
    return Starlette(routes=routes, exception_handlers={ApiError: _on_api_error, HTTPException: _on_http})


def _get(path: str, answer: Callable[[Request], Awaitable[Response]]) -> Route:
    """GET and no HEAD, which Starlette would add and vLLM's framework does not."""
    route = Route(path, answer)
    route.methods = {"GET"}
    return route


def _refuse_while_loading(faults: FaultSet) -> None:
    if (refusal := faults.health()) is not None:
        raise refusal


def _version() -> str:
    """Tells a simulator from vLLM wherever a version is written down."""
    try:
        return f"{version('ragquake')}+simulator"
    except PackageNotFoundError:
        return "0+simulator"


async def _on_api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body(), status_code=error.code, headers=error.headers)


async def _on_http(_: Request, error: Exception) -> Response:
    """Unknown paths and methods, refused in the shape of vLLM's framework."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, status_code=error.status_code, headers=error.headers)
