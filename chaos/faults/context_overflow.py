"""Context overflow: the model server says that the prompt is too long."""

from __future__ import annotations

from typing import Literal

from chaos.faults.simulator_fault import SimulatorFault


class ContextOverflow(SimulatorFault):
    """400 in vLLM's words for a prompt that is too long, whatever its real length.

    A context that grew beyond the model's window. Look for retries of what cannot succeed, and for a breaker
    that opens because of callers' own mistakes.

        grown-context: {on: llm, kind: context_overflow, probability: 30%}

    Looks like: a refusal that asking again does not mend.
    Bit when: the simulator counts at least three requests that met it.
    Undone: it is removed; the next request is answered.
    """

    kind: Literal["context_overflow"] = "context_overflow"
