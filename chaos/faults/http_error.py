"""HTTP error: an error status in the dependency's place."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from chaos.faults.quantities import PositiveDuration
from chaos.faults.request_fault import RequestFault


class HttpError(RequestFault):
    """Answers with `status` at once; the dependency is not asked.

    What a gateway says whose upstream is overloaded or being deployed. Look for retries without a limit, for
    a breaker that opens on what is the caller's own mistake (4xx), and for users who get the raw error.

        bad-gateway: {on: vector_db, kind: http_error, status: 502, probability: 50%}

    Looks like: a refusal at once, with `Retry-After` where `retry_after` says one.
    Bit when: the proxy counts at least three requests that it answered so.
    Undone: it is removed; the next request reaches the dependency.
    """

    kind: Literal["http_error"] = "http_error"
    status: Annotated[int, Field(ge=400, le=599, strict=True)] = Field(503, description="400 to 599")
    body: Annotated[str, Field(max_length=65_536)] | None = Field(
        None, description="of the answer; without one it is JSON with an `error`"
    )
    retry_after: PositiveDuration | None = Field(
        None, description="`Retry-After`, whole seconds, rounded up; 1 ms to 10 min"
    )

    def attributes(self) -> dict[str, Any]:
        given = {"status": self.status, "body": self.body, "retry_after_s": self.retry_after}
        return {name: value for name, value in given.items() if value is not None}
