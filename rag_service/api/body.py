"""Reads a request's body within bounds: of size, of time, and of what it claims to be.

A body is the first thing that a caller controls. Without a limit in time a thousand callers that send one
byte a minute hold a thousand buffers for ever; without one in size a single caller can fill the memory.
64 KiB is sixteen times the longest question.
"""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from rag_service.api.schema import BadRequest, FieldMistake

MAX_BODY_BYTES = 64 * 1024
_JSON = "application/json"


async def read_json_body(request: Request, *, timeout_s: float) -> bytes:
    """The body. Raises BadRequest: 415 (not JSON), 413 (too long), 408 (too slow); ClientDisconnect."""
    _check_type(request.headers.get("content-type"))
    _check_length(request.headers.get("content-length"))
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise _too_long()
    except TimeoutError:
        message = f"the body was not complete after {timeout_s:g} s, {len(body)} bytes had come"
        raise BadRequest(408, message, code="body_timeout") from None
    return bytes(body)


def _check_type(header: str | None) -> None:
    """A missing type passes for JSON; a wrong one is refused (curl says "form" unless told otherwise)."""
    if header is None:
        return
    kind = header.partition(";")[0].strip().lower()
    if kind != _JSON:
        shown = header[:100]
        message = f"Content-Type is {shown!r}; allowed is {_JSON}"
        raise BadRequest(
            415, message, (FieldMistake("Content-Type", repr(shown), f"allowed is {_JSON}"),),
            code="unsupported_media_type",
        )  # fmt: skip


def _check_length(header: str | None) -> None:
    if header is not None and header.isascii() and header.isdigit() and int(header[:20]) > MAX_BODY_BYTES:
        raise _too_long()


def _too_long() -> BadRequest:
    return BadRequest(
        413, f"the body is longer than the {MAX_BODY_BYTES} bytes allowed", code="body_too_long"
    )
