"""Before any fault: does the service answer, and fully? An experiment on a sick service shows nothing."""

from __future__ import annotations

import httpx

from chaos.errors import EnvironmentFailure

QUESTIONS = ("How do I parse a JSON string?", "How do I list the files in a folder?", "What does zip do?")


def check_steady_state(service_url: str, timeout_s: float = 15.0) -> None:
    """Ask a few questions. Raises EnvironmentFailure unless each gets a full answer."""
    with httpx.Client(base_url=service_url, timeout=timeout_s, trust_env=False) as client:
        for question in QUESTIONS:
            try:
                answer = client.post("/v1/answers", json={"question": question})
            except httpx.HTTPError as error:
                raise EnvironmentFailure(
                    f"steady state: the service did not answer {question!r}: {type(error).__name__} {error}"
                ) from error
            outcome = answer.json().get("outcome") if answer.status_code == 200 else None
            if outcome != "full":
                raise EnvironmentFailure(
                    f"steady state: {question!r} got HTTP {answer.status_code}, outcome {outcome}, "
                    f"not a full answer, before any fault was in: {answer.text[:300]}"
                )
