"""A prompt that the model cannot hold: 400, which is the caller's fault and no reason to try again."""

from __future__ import annotations

from typing import Literal

from rag_service.model_server.faults.fault import Fault, register
from rag_service.model_server.openai import ApiError

_WINDOW = 4096


@register
class ContextOverflow(Fault):
    """400 in vLLM's manner, whatever the prompt's real length."""

    kind: Literal["context_overflow"]

    def refusal(self) -> ApiError:
        message = (
            f"This model's maximum context length is {_WINDOW} tokens; the request needs {_WINDOW + 256}. "
            "Reduce the length of the messages or of the completion."
        )
        return ApiError(400, "BadRequestError", message, "messages")
