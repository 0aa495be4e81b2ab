"""Slow first token: the model's first token comes late, the rest in time."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from chaos.faults.answer_fault import AnswerFault
from chaos.faults.quantities import PositiveDuration


class SlowFirstToken(AnswerFault):
    """The first token comes `delay` later; the rest follow as fast as ever.

    Prompts that queue up, a cold prefix cache. Unlike `latency` it holds a place in the simulator's batch
    while it lasts, as a real slow prompt does; before another model server the proxy holds the answer. Look
    for users who leave before the first word.

        cold-cache: {on: llm, kind: slow_first_token, delay: 2s}

    Looks like: a model server that answers late; calls with a shorter limit on the first token end in it.
    Bit when: the simulator, or the proxy before another model server, counts at least three answers that
    met it.
    Undone: it is removed; answers that wait already go on waiting (at the proxy they go on at once).
    """

    kind: Literal["slow_first_token"] = "slow_first_token"
    delay: PositiveDuration = Field(description="before the first token; 1 ms to 10 min")

    def body(self) -> dict[str, Any]:
        return {"delay_s": self.delay}
