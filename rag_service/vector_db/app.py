"""The vector DB's HTTP face: one route for each thing that it can do, errors always in the same JSON.

A database of its own process and port, so that a proxy can stand between it and the service, as it would
between a service and Qdrant or Milvus.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from rag_service.corpus.document import CorpusError
from rag_service.vector_db import limits, requests
from rag_service.vector_db.batches import TooManyWaiting
from rag_service.vector_db.collection import NAME
from rag_service.vector_db.database import Database
from rag_service.vector_db.errors import Refused
from rag_service.vector_db.operations import readable

_RETRY_AFTER_S = "1"


def make_app(database: Database) -> Starlette:
    """The application over one database."""

    async def healthz(_: Request) -> Response:
        collection = database.collection
        manifest = collection.manifest
        return _json(
            {
                "status": "ok",
                "collection": NAME,
                "documents": len(collection),
                "dimension": manifest.dimension,
                "stamp": manifest.stamp,
                "version": collection.version,
                "index": collection.index,
            }
        )

    async def search(request: Request) -> Response:
        body = await _body(request, limits.MAX_SEARCH_BYTES)
        query = requests.parsed_search(body, database.collection.manifest.dimension)
        found = await database.search(query)
        results = [[{"id": hit.id, "score": hit.score} for hit in hits] for hits in found.results]
        return _json({"stamp": found.stamp, "version": found.version, "results": results})

    async def upsert(request: Request) -> Response:
        body = await _body(request, limits.MAX_WRITE_BYTES)
        dimension = database.collection.manifest.dimension
        written = await database.write(requests.parsed_upsert(body, dimension))
        return _json({"version": written.version})

    async def delete(request: Request) -> Response:
        body = await _body(request, limits.MAX_WRITE_BYTES)
        written = await database.write(requests.parsed_delete(body))
        return _json({"version": written.version, "deleted": written.points})

    async def point(request: Request) -> Response:
        point_id = requests.checked_id(request.path_params["id"], "id")
        stored = await database.point(point_id)
        if stored is None:
            raise Refused(404, "unknown_point", f"there is no point {point_id!r:.80}")
        metadata = readable(stored.metadata)
        return _json({"id": stored.id, "vector": stored.vector.tolist(), "metadata": metadata})

    async def snapshot(request: Request) -> Response:
        requests.parsed_nothing(await _body(request, limits.MAX_SEARCH_BYTES))
        kept = await database.snapshot()
        return _json({"version": kept.version, "path": str(kept.path)})

    async def reload(request: Request) -> Response:
        requests.parsed_nothing(await _body(request, limits.MAX_SEARCH_BYTES))
        reloaded = await database.reload()
        return _json({"stamp": reloaded.stamp, "version": reloaded.version})

    actions = {"search": search, "upsert": upsert, "delete": delete, "snapshot": snapshot, "reload": reload}
    in_collection = "/v1/collections/{collection}"
    routes = [
        Route("/healthz", healthz),
        *(Route(f"{in_collection}/{name}", _known(do), methods=["POST"]) for name, do in actions.items()),
        Route(f"{in_collection}/points/{{id:path}}", _known(point)),
    ]
    handlers = {
        Refused: _on_refused,
        TooManyWaiting: _on_too_many,
        CorpusError: _on_corpus,
        ClientDisconnect: _on_gone,
        HTTPException: _on_http,
    }
    return Starlette(routes=routes, exception_handlers=handlers)


_Endpoint = Callable[[Request], Awaitable[Response]]


def _known(endpoint: _Endpoint) -> _Endpoint:
    """The endpoint, for the one collection that there is."""

    async def checked(request: Request) -> Response:
        asked = request.path_params["collection"]
        if asked != NAME:
            message = f"there is no collection {asked!r:.80}; this database has {NAME!r}"
            raise Refused(404, "unknown_collection", message)
        return await endpoint(request)

    return checked


async def _body(request: Request, most_bytes: int) -> bytes:
    """The request's body, given up as soon as it is too large rather than when it has all arrived."""
    refusal = Refused(413, "body_too_large", f"the body is larger than the {most_bytes} bytes allowed")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most_bytes:
        raise refusal
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > most_bytes:
            raise refusal
    return bytes(received)


def _json(content: dict[str, object], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(to_json(content), status, headers, media_type="application/json")


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    return _json({"error": {"code": code, "message": message}}, status, headers)


async def _on_refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return _error(error.status, error.code, str(error))


async def _on_too_many(_: Request, __: Exception) -> Response:
    message = "too many requests are waiting already; try again after the time in Retry-After"
    return _error(503, "overloaded", message, {"Retry-After": _RETRY_AFTER_S})


async def _on_corpus(_: Request, error: Exception) -> Response:
    return _error(409, "index_unusable", f"{error}; the corpus that was served before is still served")


async def _on_gone(_: Request, __: Exception) -> Response:
    return _error(400, "client_gone", "the connection was closed before the body was complete")


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    allowed = (
        "GET /healthz, GET /v1/collections/corpus/points/ID, "
        "POST /v1/collections/corpus/search, upsert, delete, snapshot, reload"
    )
    message = f"{request.method} {request.url.path:.200}: {error.detail}; allowed: {allowed}"
    return _error(error.status_code, code, message)
