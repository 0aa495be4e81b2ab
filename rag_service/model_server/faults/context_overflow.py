"""A prompt that the model cannot hold: 400, which is the caller's fault and no reason to try again."""

from __future__ import annotations

from typing import Literal

from rag_service.model_server.faults.fault import Fault, register
from rag_service.model_server.openai_errors import ApiError, too_long

_WINDOW = 4096


@register
class ContextOverflow(Fault):
    """400 in vLLM's words, whatever the prompt's real length."""

    kind: Literal["context_overflow"]

    def refusal(self) -> ApiError:
        return too_long(_WINDOW)
