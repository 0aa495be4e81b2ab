"""Stall: the model server falls silent in mid-answer."""

from __future__ import annotations

from typing import Literal

from chaos.faults.answer_fault import AfterTokens


class Stall(AfterTokens):
    """After `after_tokens` tokens nothing more comes, until the client hangs up.

    The connection lives, so no socket timeout notices; a replica whose engine hangs looks like this. Look
    for streams that wait for ever, and for callers who time the whole answer instead of the next token.

        silent-model: {on: llm, kind: stall, after_tokens: 5, probability: 20%}

    Looks like: a stream that stops; only a limit on the time between tokens ends it.
    Bit when: the simulator, or the proxy before another model server, counts at least three answers that
    met it.
    Undone: it is removed; an answer that is silent already stays so until its client goes (at the proxy it
    goes on at once).
    """

    kind: Literal["stall"] = "stall"
