"""Abort: an answer that the engine gave up, dressed as a success."""

from __future__ import annotations

from typing import ClassVar, Literal

from chaos.faults.answer_fault import AfterTokens


class Abort(AfterTokens):
    """After `after_tokens` tokens the answer ends with `finish_reason: "abort"` and then `[DONE]`.

    HTTP 200 and a terminal event, so whoever takes `[DONE]` for success serves half an answer as a whole
    one (vLLM's issue 57082).

        given-up: {on: llm, kind: abort, after_tokens: 5}

    Looks like: a short answer that ends well, but for its finish reason.
    Bit when: the simulator, or the proxy before another model server, counts at least three answers that
    met it.
    Undone: it is removed; the next answers come whole.
    """

    http_type: ClassVar[str] = "done_after_abort"

    kind: Literal["abort"] = "abort"
