"""A server that cannot serve: 503.

Without `retry_after_s` it is a plain failure; with it, it is an admission reject, which is pushback rather
than a failure (vLLM's own reject of a full queue is the simulator's `--max-waiting`).
"""

from __future__ import annotations

from typing import Literal

from rag_service.model_server.faults.fault import Delay, Fault, register
from rag_service.model_server.openai_errors import ApiError, retry_after, unavailable


@register
class Unavailable(Fault):
    """503; `retry_after_s` becomes `Retry-After` in whole seconds, rounded up."""

    kind: Literal["unavailable"]
    retry_after_s: Delay | None = None

    def refusal(self) -> ApiError:
        message = "The service is temporarily unavailable."
        return unavailable(message, retry_after(self.retry_after_s))
