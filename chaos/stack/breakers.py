"""The service's breakers as it reports them: for people who watch a run, never for the verdict."""

from __future__ import annotations

import httpx

TIMEOUT_S = 0.5
"""An overloaded service answers late, and the display must not wait for it."""


def breaker_states(service_url: str, path: str = "/v1/breakers") -> dict[str, str]:
    """State by breaker (`closed`, `open`, `half_open`); empty while the service does not answer."""
    try:
        with httpx.Client(timeout=TIMEOUT_S, trust_env=False) as client:
            answer = client.get(f"{service_url}{path}").raise_for_status().json()
        return {str(breaker["name"]): str(breaker["state"]) for breaker in answer["breakers"]}
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return {}
