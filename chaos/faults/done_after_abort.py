"""Done after abort: an answer that was given up, with a reason of choice."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from chaos.faults.quantities import Tokens
from chaos.faults.request_fault import RequestFault


class DoneAfterAbort(RequestFault):
    """After `after_tokens` tokens the answer ends with `finish_reason` (none when it is empty) and `[DONE]`.

    As `abort`, but always at the proxy, and with the words of other engines and gateways. Whoever takes
    `[DONE]` for success serves half an answer as a whole one (vLLM's issue 57082).

        given-up: {on: llm, kind: done_after_abort, after_tokens: 5, finish_reason: error}

    Looks like: a short answer that ends well, but for its finish reason.
    Bit when: the proxy counts at least three answers that met it.
    Undone: it is removed; the next answers come whole.
    """

    kind: Literal["done_after_abort"] = "done_after_abort"
    on: Literal["llm"] = Field(description="the model server: llm")
    after_tokens: Tokens = Field(description="tokens that come before it; 0 to 100000")
    finish_reason: Annotated[str, Field(max_length=64)] = Field(
        "abort", description="may be empty: none at all"
    )
