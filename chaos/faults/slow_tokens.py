"""Slow tokens: every token after the first comes late."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from chaos.faults.answer_fault import AnswerFault
from chaos.faults.quantities import PositiveDuration


class SlowTokens(AnswerFault):
    """Each token but the first comes `delay` later than it would; at the proxy, `delay` after the one before.

    A batch that is too full, a GPU that throttles. Look for answers whose first word is prompt and which
    then outlive every deadline, and for limits that count the whole answer.

        throttled-gpu: {on: llm, kind: slow_tokens, delay: 100ms}

    Looks like: a stream that crawls.
    Bit when: the simulator, or the proxy before another model server, counts at least three answers that
    met it.
    Undone: it is removed; answers under way keep their pace (at the proxy they go on at once).
    """

    kind: Literal["slow_tokens"] = "slow_tokens"
    delay: PositiveDuration = Field(description="before each further token; 1 ms to 10 min")

    def body(self) -> dict[str, Any]:
        return {"delay_s": self.delay}
