"""Malformed chunk: an event of the stream that is no JSON."""

from __future__ import annotations

from typing import Literal

from chaos.faults.answer_fault import AfterTokens


class MalformedChunk(AfterTokens):
    """After `after_tokens` tokens comes one event that is no JSON; the tokens behind it are good again.

    What a gateway's bug in re-encoding makes of a stream (LiteLLM's issue 40404). Look for an exception
    in the reader that ends the answer without a word to the user.

        broken-gateway: {on: llm, kind: malformed_chunk, after_tokens: 5}

    Looks like: a stream that cannot be read on.
    Bit when: the simulator, or the proxy before another model server, counts at least three answers that
    met it.
    Undone: it is removed; the next answers come whole.
    """

    kind: Literal["malformed_chunk"] = "malformed_chunk"
