"""The barrier at the end of a run: once all spans are handed over, a missing one is lost."""

from __future__ import annotations

import httpx

from chaos.stack.errors import StackError

IN_FLIGHT = "rag_in_flight"
FLUSH_TIMEOUT_S = 15.0
"""The exporter may still be sending what a spike left in its queue."""


def flush(service_url: str, path: str = "/v1/telemetry/flush") -> int:
    """Have the service export what it still holds; its last span sequence number. Raises StackError."""
    try:
        with httpx.Client(timeout=FLUSH_TIMEOUT_S, trust_env=False) as client:
            answer = client.post(f"{service_url}{path}").raise_for_status()
        return int(answer.json()["last_seq"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
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
