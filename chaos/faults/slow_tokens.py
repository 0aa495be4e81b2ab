"""Slow tokens: every token after the first comes late."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from chaos.faults.quantities import PositiveDuration
from chaos.faults.simulator_fault import SimulatorFault


class SlowTokens(SimulatorFault):
    """Each token but the first comes `delay` later than it would.

    A batch that is too full, a GPU that throttles. Look for answers whose first word is prompt and which
    then outlive every deadline, and for limits that count the whole answer.

        throttled-gpu: {on: llm, kind: slow_tokens, delay: 100ms}

    Looks like: a stream that crawls.
    Bit when: the simulator counts at least three answers that met it.
    Undone: it is removed; answers under way keep their pace.
    """

    kind: Literal["slow_tokens"] = "slow_tokens"
    delay: PositiveDuration = Field(description="before each further token; 1 ms to 10 min")

    def body(self) -> dict[str, Any]:
        return {"delay_s": self.delay}
