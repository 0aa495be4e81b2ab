"""What a call of the API is led to, and what it gives back."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chaos.proxy.asked import RefusedError
from chaos.proxy.bodies import BadBodyError


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: a JSON value, or text."""

    status: int
    body: Any = None
    content_type: str = "application/json"
    location: str = ""


Route = tuple[re.Pattern[str], Mapping[str, Callable[..., Awaitable[Answer]]]]
"""A path with names in it, and what answers each method: it gets the names and the body (GET: the query)."""


def error_json(refused: RefusedError) -> dict[str, Any]:
    """A refusal as Toxiproxy writes it."""
    return {"error": refused.message, "status": refused.status}


def bad_body(bad: BadBodyError) -> RefusedError:
    """What a client is told of a body that cannot be decoded."""
    return RefusedError(f"bad request body: {bad}", 400)
