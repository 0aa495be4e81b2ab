"""Rate limited: the model server says 429."""

from __future__ import annotations

from typing import Literal

from chaos.faults.simulator_fault import Refusal


class RateLimited(Refusal):
    """429 instead of an answer, with a `Retry-After` where `retry_after` says one.

    A quota that is used up. Look for retries that come sooner than they were told, and for a breaker that
    opens on what is pushback and no failure.

        quota: {on: llm, kind: rate_limited, retry_after: 2s, probability: 50%}

    Looks like: a refusal at once.
    Bit when: the simulator counts at least three requests that met it.
    Undone: it is removed; the next request is answered.
    """

    kind: Literal["rate_limited"] = "rate_limited"
