"""The barrier at the end of a run: once all spans are handed over, a missing one is lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from chaos.stack.errors import StackError

IN_FLIGHT = "rag_in_flight"
FLUSH_TIMEOUT_S = 15.0
"""The exporter may still be sending what a spike left in its queue."""


@dataclass(frozen=True, slots=True)
class Flushed:
    """What a service said when it had handed over its spans; nothing where it does not count them."""

    last_seq: int | None = None
    """The last number that it gave to a request span."""
    lost: int | None = None
    """Spans that ended and were never taken: they fell off the queue, or could not be exported."""

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Flushed:
        """From the answer to a flush. Raises KeyError, ValueError or TypeError for what is none."""
        spans = answer.get("spans")
        lost = None if spans is None else int(spans["failed"]) + int(spans["dropped"])
        return cls(int(answer["last_seq"]), lost)


def flush(service_url: str, path: str = "/v1/telemetry/flush") -> Flushed:
    """Have the service export what it still holds. Raises StackError."""
    try:
        with httpx.Client(timeout=FLUSH_TIMEOUT_S, trust_env=False) as client:
            answer = client.post(f"{service_url}{path}").raise_for_status()
        return Flushed.of(answer.json())
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StackError(
            f"the service did not flush its telemetry: {type(error).__name__}: {error}; "
            f"spans that it still held are missing from the evidence"
        ) from error


def answers_under_way(service_url: str) -> int:
    """How many answers the reference service is making now. Raises StackError when it does not say."""
    try:
        with httpx.Client(timeout=FLUSH_TIMEOUT_S, trust_env=False) as client:
            text = client.get(f"{service_url}/metrics").raise_for_status().text
        [value] = [line.split()[1] for line in text.splitlines() if line.startswith(f"{IN_FLIGHT} ")]
        return int(float(value))
    except (httpx.HTTPError, ValueError) as error:
        raise StackError(
            f"the service does not say how many answers it is making: {type(error).__name__}: {error}"
        ) from error
