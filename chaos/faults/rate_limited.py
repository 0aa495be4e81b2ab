"""Rate limited: the model server says 429."""

from __future__ import annotations

from typing import ClassVar, Literal

from chaos.faults.answer_fault import TimedRefusal


class RateLimited(TimedRefusal):
    """429 instead of an answer, with a `Retry-After` where `retry_after` says one.

    A quota that is used up. Look for retries that come sooner than they were told, and for a breaker that
    opens on what is pushback and no failure.

        quota: {on: llm, kind: rate_limited, retry_after: 2s, probability: 50%}

    Looks like: a refusal at once.
    Bit when: the simulator, or the proxy before another model server, counts at least three requests that
    met it.
    Undone: it is removed; the next request is answered.
    """

    status: ClassVar[int] = 429
    error_type: ClassVar[str] = "RateLimitError"
    message: ClassVar[str] = "Rate limit reached for requests."

    kind: Literal["rate_limited"] = "rate_limited"
