"""Errors as vLLM words them: `{"error": {"message", "type", "param", "code"}}`.

Clients match on these words to tell a prompt that is too long from a server that is too busy, so they are
vLLM's own (0.32, `entrypoints/`, `renderers/params.py`), numbers in the same places.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """An error that becomes a response with `code` as its status."""

    def __init__(
        self,
        code: int,
        kind: str,
        message: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.kind = kind
        self.param = param
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        param = None if self.param is None else _sendable(self.param)
        return {
            "error": {"message": _sendable(str(self)), "type": self.kind, "param": param, "code": self.code}
        }


def _sendable(text: str) -> str:
    """JSON may hold half of a surrogate pair, which a caller's key brings along and no UTF-8 can carry."""
    return text.encode("utf-8", "backslashreplace").decode()


def bad_request(message: str, param: str | None = None, value: object = None) -> ApiError:
    """A request that could be read, and asks for what cannot be done; vLLM repeats field and value."""
    told = [f"{name}={what}" for name, what in (("parameter", param), ("value", value)) if what is not None]
    return ApiError(400, "BadRequestError", f"{message} ({', '.join(told)})" if told else message, param)


def unreadable(message: str, param: str | None = None) -> ApiError:
    """A request that is no JSON, or not of the form that the API has; vLLM gives it a type of its own."""
    return ApiError(400, "Bad Request", message, param)


def no_such_model(name: str, served: str) -> ApiError:
    return ApiError(
        404, "NotFoundError", f"The model `{name}` does not exist. Valid aliases: {served}.", "model"
    )


def too_long(max_model_len: int) -> ApiError:
    """vLLM stops counting at the first token that does not fit, so the prompt has "at least" so many."""
    counted = max_model_len + 1
    return bad_request(
        f"This model's maximum context length is {max_model_len} tokens. However, your prompt contains at "
        f"least {counted} input tokens, which exceeds this limit even without any output tokens. Please "
        "reduce the length of the input prompt.",
        "input_tokens",
        counted,
    )


def unavailable(message: str, headers: Mapping[str, str] | None = None) -> ApiError:
    return ApiError(503, "Service Unavailable", message, headers=headers)


def queue_full() -> ApiError:
    """What vLLM's `--max-num-queued-reqs` says."""
    return unavailable(
        "The engine is currently busy and cannot accept new requests. Please try again later or on a "
        "different instance."
    )


def retry_after(seconds: float | None) -> dict[str, str]:
    """The header, in whole seconds as HTTP wants it; none where nothing is said."""
    return {} if seconds is None else {"Retry-After": str(math.ceil(seconds))}
