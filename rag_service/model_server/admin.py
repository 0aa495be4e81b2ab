"""The simulator's control surface: which faults are in, and what the engine is doing.

Whoever reaches it can stop the model server, so without a token only callers on this machine do, and only
under a loopback name: a web page that resolves its own host name to 127.0.0.1 would come from loopback, too.
With a token (for a simulator that listens on a network) every caller must present it.
"""

from __future__ import annotations

import hmac
import json
import logging
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rag_service.loopback import is_loopback
from rag_service.model_server.engine import Engine
from rag_service.model_server.fault_set import Armed, FaultSet, parse_fault, parse_faults
from rag_service.model_server.openai_errors import ApiError

MAX_BODY_BYTES = 64 * 1024
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gate:
    """Who may use the control surface."""

    token: str | None = None

    def check(self, request: Request) -> None:
        """Raise ApiError 401 or 403 for a caller who may not."""
        if self.token is not None:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            sent = given.encode("latin-1")  # as it was on the wire
            if scheme.lower() != "bearer" or not hmac.compare_digest(sent, self.token.encode()):
                raise ApiError(
                    401, "AuthenticationError", "send the admin token as Authorization: Bearer TOKEN"
                )
            return
        caller = request.client.host if request.client else ""
        if not is_loopback(caller):
            raise _forbidden(f"this caller is {caller!r}")
        named = _host(f"//{request.headers.get('host', '')}")
        if not is_loopback(named):
            raise _forbidden(f"the Host header names {named!r}")
        origin = request.headers.get("origin")
        if origin is not None and not is_loopback(_host(origin)):
            raise _forbidden(f"the request comes from a page of {origin!r}")


def _forbidden(why: str) -> ApiError:
    return ApiError(
        403,
        "PermissionDeniedError",
        f"the admin API answers loopback callers only, and {why}; set an admin token",
    )


def _host(url: str) -> str:
    """The host of an address; nothing where it is none, such as `[::1`."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def admin_routes(engine: Engine, faults: FaultSet, gate: Gate) -> list[Route]:
    """`/admin/faults` (all at once), `/admin/faults/NAME` (one beside the others), `/admin/state`."""

    def listed() -> Response:
        return JSONResponse({"faults": [_shown(armed) for armed in faults.armed]})

    async def on_faults(request: Request) -> Response:
        gate.check(request)
        if request.method == "POST":
            faults.replace(parse_faults(_json(await _body(request))))
        elif request.method == "DELETE":
            faults.replace(())
        _tell(request)
        return listed()

    async def on_fault(request: Request) -> Response:
        gate.check(request)
        name = request.path_params["name"]
        if request.method == "PUT":
            answer = _shown(faults.put(name, parse_fault(_json(await _body(request)))))
        else:
            answer = _shown(faults.take(name) if request.method == "DELETE" else faults.get(name))
        _tell(request)
        return JSONResponse(answer)

    async def on_state(request: Request) -> Response:
        gate.check(request)
        load = engine.load
        return JSONResponse(
            {
                "running": load.running,
                "waiting": load.waiting,
                "received": engine.received,
                "finished": dict(engine.finished),
            }
        )

    return [
        Route("/admin/faults", on_faults, methods=["GET", "POST", "DELETE"]),
        Route("/admin/faults/{name}", on_fault, methods=["GET", "PUT", "DELETE"]),
        Route("/admin/state", on_state, methods=["GET"]),
    ]


def _tell(request: Request) -> None:
    """Log who changed what; what only looks is not worth a line."""
    if request.method not in ("GET", "HEAD"):
        who = f"{request.client.host}:{request.client.port}" if request.client else "somebody"
        _log.info("%s: %s %s", who, request.method, request.url.path)


def _shown(armed: Armed) -> dict[str, object]:
    return armed.fault.model_dump() | {"name": armed.name, "hits": armed.hits}


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "BadRequestError", f"the body is not JSON ({error})") from None


async def _body(request: Request) -> bytes:
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > MAX_BODY_BYTES:
            raise ApiError(413, "BadRequestError", f"The body is larger than {MAX_BODY_BYTES} bytes.")
    return bytes(received)
