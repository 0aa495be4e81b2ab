"""Slow first token: the model's first token comes late, the rest in time."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from chaos.faults.quantities import PositiveDuration
from chaos.faults.simulator_fault import SimulatorFault


class SlowFirstToken(SimulatorFault):
    """The first token comes `delay` later; the rest follow as fast as ever.

    Prompts that queue up, a cold prefix cache. Unlike `latency` at the proxy it holds a place in the batch
    while it lasts, as a real slow prompt does. Look for users who leave before the first word.

        cold-cache: {on: llm, kind: slow_first_token, delay: 2s}

    Looks like: a model server that answers late; calls with a shorter limit on the first token end in it.
    Bit when: the simulator counts at least three answers that met it.
    Undone: it is removed; answers that wait already go on waiting.
    """

    kind: Literal["slow_first_token"] = "slow_first_token"
    delay: PositiveDuration = Field(description="before the first token; 1 ms to 10 min")

    def body(self) -> dict[str, Any]:
        return {"delay_s": self.delay}
