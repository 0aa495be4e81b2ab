"""The vector DB's HTTP face: health and search, with bounds on everything a caller can make large.

A database of its own process and port, so that a proxy can stand between it and the service, as it would
between a service and Qdrant or Milvus.
"""

from __future__ import annotations

import asyncio
import json
import math
from concurrent.futures import Executor
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rag_service.vector_db.collection import NAME, Collection

MAX_K = 100
MAX_VECTORS = 64
MAX_BODY_BYTES = 2 * 1024 * 1024  # 64 vectors of 384 numbers of about 22 characters are 0.5 MB


class Refused(Exception):
    """A request that the database will not run: a status, a code for programs and a sentence for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def make_app(collection: Collection, executor: Executor) -> Starlette:
    """The application over one open collection; searches run in `executor`, off the event loop."""

    async def healthz(_: Request) -> Response:
        manifest = collection.manifest
        return JSONResponse(
            {
                "status": "ok",
                "collection": NAME,
                "documents": len(collection),
                "dimension": manifest.dimension,
                "stamp": manifest.stamp,
            }
        )

    async def search(request: Request) -> Response:
        asked = request.path_params["collection"]
        if asked != NAME:
            raise Refused(
                404, "unknown_collection", f"there is no collection {asked!r}; this database has {NAME!r}"
            )
        body = _parsed(await _body(request))
        vectors = _vectors(body.get("vectors"), collection.manifest.dimension)
        k = _k(body.get("k", 5))
        results = await asyncio.get_running_loop().run_in_executor(executor, collection.search, vectors, k)
        found = [[{"id": hit.id, "score": hit.score} for hit in hits] for hits in results]
        return JSONResponse({"stamp": collection.manifest.stamp, "results": found})

    routes = [
        Route("/healthz", healthz),
        Route("/v1/collections/{collection}/search", search, methods=["POST"]),
    ]
    return Starlette(routes=routes, exception_handlers={Refused: _on_refused, HTTPException: _on_http})


async def _body(request: Request) -> bytes:
    """The request's body, given up as soon as it is too large rather than when it has all arrived."""
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > MAX_BODY_BYTES:
            raise Refused(
                413, "body_too_large", f"the body is larger than the {MAX_BODY_BYTES} bytes allowed"
            )
    return bytes(received)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "not_json", f"the body is not JSON ({error}); send {_EXAMPLE}") from None
    if not isinstance(parsed, dict):
        raise Refused(400, "not_an_object", f"the body is a {type(parsed).__name__}; send {_EXAMPLE}")
    unknown = sorted(parsed.keys() - {"vectors", "k"})
    if unknown:
        raise Refused(422, "unknown_field", f"{unknown[0]!r} is not a field; send {_EXAMPLE}")
    return parsed


def _vectors(value: Any, dimension: int) -> list[list[float]]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_VECTORS:
        what = f"{len(value)} vectors" if isinstance(value, list) else repr(value)[:80]
        raise Refused(
            422, "bad_vectors", f"'vectors' is {what}; it must be a list of 1 to {MAX_VECTORS} vectors"
        )
    for number, vector in enumerate(value):
        if not isinstance(vector, list) or len(vector) != dimension:
            what = f"of {len(vector)} numbers" if isinstance(vector, list) else f"{vector!r:.80}"
            raise Refused(
                422,
                "wrong_dimension",
                f"vector {number} is {what}; this collection's vectors have {dimension}",
            )
        if not all(type(item) in (int, float) and math.isfinite(item) for item in vector):
            raise Refused(422, "not_finite", f"vector {number} holds something that is not a finite number")
    return value


def _k(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MAX_K:
        raise Refused(422, "bad_k", f"'k' is {value!r:.80}; it must be a whole number from 1 to {MAX_K}")
    return value


async def _on_refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return _error(error.status, error.code, str(error))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    allowed = "GET /healthz, POST /v1/collections/corpus/search"
    message = f"{request.method} {request.url.path}: {error.detail}; allowed: {allowed}"
    return _error(error.status_code, code, message)


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)


_EXAMPLE = '{"vectors": [[0.1, …]], "k": 5}'
