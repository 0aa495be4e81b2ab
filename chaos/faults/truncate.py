"""Truncate: the answer's body ends well, the answer does not."""

from __future__ import annotations

from typing import Literal

from chaos.faults.answer_fault import AfterTokens


class Truncate(AfterTokens):
    """After `after_tokens` tokens the body ends as HTTP wants it, without finish reason and `[DONE]`.

    Some gateways close a stream cleanly at a limit of their own. Look for half an answer that counts as
    complete because the connection ended without an error.

        tidy-gateway: {on: llm, kind: truncate, after_tokens: 5}

    Looks like: a stream that ends early and without a complaint.
    Bit when: the simulator, or the proxy before another model server, counts at least three answers that
    met it.
    Undone: it is removed; the next answers come whole.
    """

    kind: Literal["truncate"] = "truncate"
