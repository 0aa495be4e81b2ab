"""What a call of the API is led to, and what it gives back."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: a JSON value, or text."""

    status: int
    body: Any = None
    content_type: str = "application/json"
    location: str = ""


Route = tuple[re.Pattern[str], Mapping[str, Callable[..., Awaitable[Answer]]]]
"""A path with names in it, and what answers each method: it gets the names and the body (GET: the query)."""
