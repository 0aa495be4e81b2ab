"""Context overflow: the model server says that the prompt is too long."""

from __future__ import annotations

from typing import ClassVar, Literal

from chaos.faults.answer_fault import Refusal


class ContextOverflow(Refusal):
    """400 in vLLM's words for a prompt that is too long, whatever its real length.

    A context that grew beyond the model's window. Look for retries of what cannot succeed, and for a breaker
    that opens because of callers' own mistakes.

        grown-context: {on: llm, kind: context_overflow, probability: 30%}

    Looks like: a refusal that asking again does not mend.
    Bit when: the simulator, or the proxy before another model server, counts at least three requests that
    met it.
    Undone: it is removed; the next request is answered.
    """

    status: ClassVar[int] = 400
    error_type: ClassVar[str] = "BadRequestError"
    message: ClassVar[str] = (
        "This model's maximum context length is 4096 tokens. However, your prompt contains at least 4097 "
        "input tokens, which exceeds this limit even without any output tokens. Please reduce the length "
        "of the input prompt. (parameter=input_tokens, value=4097)"
    )
    param: ClassVar[str | None] = "input_tokens"

    kind: Literal["context_overflow"] = "context_overflow"
