"""Slow start-up: the model server runs and is not ready."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from chaos.faults.quantities import PositiveDuration
from chaos.faults.simulator_fault import SimulatorFault


class SlowStartup(SimulatorFault):
    """503 "Loading model" to every request, the health check's included, for `lasts` at most.

    What a replica says while its weights load, after a restart or when the scheduler moved it. Look for
    readiness that takes a port that listens for a model that answers.

        loading: {on: llm, kind: slow_startup, lasts: 20s}

    Looks like: a dependency that listens and refuses.
    Bit when: the simulator counts at least three requests that met it.
    Undone: it is removed, or `lasts` is over, whichever comes first.
    """

    kind: Literal["slow_startup"] = "slow_startup"
    lasts: PositiveDuration = Field(description="how long it loads; 1 ms to 10 min")

    def body(self) -> dict[str, Any]:
        return {"for_s": self.lasts}
