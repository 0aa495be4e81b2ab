"""JSON in bodies that faults read and write: whatever comes, no fault fails over it."""

from __future__ import annotations

import json


def is_json(text: bytes | str) -> bool:
    """Whether it can be read; what is nested too deep for that cannot."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def written(value: object) -> bytes:
    """Compact, letters as they are; half a surrogate pair, which UTF-8 does not have, as an escape."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()
