"""A quota that is used up: 429, with or without a word on when to come back."""

from __future__ import annotations

from typing import Literal

from rag_service.model_server.faults.fault import Delay, Fault, register
from rag_service.model_server.openai_errors import ApiError, retry_after


@register
class RateLimited(Fault):
    """429; `retry_after_s` becomes `Retry-After` in whole seconds, rounded up."""

    kind: Literal["rate_limited"]
    retry_after_s: Delay | None = None

    def refusal(self) -> ApiError:
        message = "Rate limit reached for requests."
        return ApiError(429, "RateLimitError", message, headers=retry_after(self.retry_after_s))
