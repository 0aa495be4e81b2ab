"""Telling "not now" from "broken": the peer's own word about how much it can take.

429, and 503 from a server's admission control, come from a server that works and says so. Counting them as
failures would open the breaker on a healthy peer, and repeating them blindly is what they ask not to do.
A 503 counts as pushback when it has a `Retry-After`, or when its OpenAI error body speaks of a queue, of
overload or of new requests that cannot be accepted: so says vLLM 0.32 (`--max-num-queued-reqs`), without the
header; earlier versions said "Request queue full."
Any other 503 (a proxy's page, a server that is starting) is a failure.

`Retry-After` is either seconds or an HTTP-date (RFC 9110, 10.2.3). It is someone else's number: at most
`MAX_RETRY_AFTER_S` of it is believed, and what cannot be read counts as absent.

    >>> parse_retry_after("1.5")
    1.5
    >>> parse_retry_after("soon") is None
    True
    >>> status_error("llm", 429, retry_after="2", body="").retry_after_s
    2.0
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

from rag_service.errors import BadStatus, Pushback

MAX_RETRY_AFTER_S = 300.0
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_ADMISSION_WORDS = ("queue", "overload", "cannot accept new requests")


def parse_retry_after(value: str | None, now: Callable[[], float] = time.time) -> float | None:
    """The header's wait from now, between 0 and `MAX_RETRY_AFTER_S`; None where it says nothing readable."""
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), MAX_RETRY_AFTER_S)
    try:
        wait_s = parsedate_to_datetime(text).timestamp() - now()
    except (ValueError, OverflowError):
        return None
    return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S)


def status_error(dependency: str, status: int, *, retry_after: str | None, body: str) -> BadStatus:
    """The error for a status that is not success: Pushback when the peer says "later", else BadStatus."""
    wait_s = parse_retry_after(retry_after)
    if status == 429 or (status == 503 and (wait_s is not None or _speaks_of_admission(body))):
        return Pushback(dependency, status, body, retry_after_s=wait_s)
    return BadStatus(dependency, status, body)


def _speaks_of_admission(body: str) -> bool:
    """Only an OpenAI error object is trusted: words on a proxy's error page mean nothing."""
    try:
        error = json.loads(body)["error"]
        said = " ".join(str(error.get(key, "")) for key in ("message", "type", "code")).lower()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    return any(word in said for word in _ADMISSION_WORDS)
