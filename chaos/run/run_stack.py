"""What a run needs of a stack, and what it has of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from chaos.stack.model_servers import LlmRequest
from chaos.stack.opening import Stack, open_stack
from chaos.stack.target import AttachedTarget
from slo.receiver import Receiver

SPOOL = "otlp"
"""Where the telemetry of a run arrives, in its bundle."""

Say = Callable[[str], None]
Tap = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class StackNeed:
    """What a run needs of its stack; runs whose needs are equal can have the same one."""

    kind: str
    state: Path
    llm: LlmRequest
    on_requests: bool
    settings: Mapping[str, str | int | float | bool]
    target: AttachedTarget | None = None

    @property
    def can_be_shared(self) -> bool:
        """Containers hand their telemetry to one folder; a service that runs already needs no start."""
        return self.kind == "local"

    def open(self, folder: Path, receiver: Receiver, say: Say) -> Stack:
        """Such a stack, not yet started. Raises StackError where there is none."""
        return open_stack(
            self.kind,
            target=self.target,
            folder=folder,
            state=self.state,
            llm=self.llm,
            on_requests=self.on_requests,
            otlp_endpoint=receiver.endpoint,
            service_settings=self.settings,
            on_progress=say,
        )


@dataclass(slots=True)
class RunStack:
    """The stack that a run has, and where its telemetry arrives."""

    stack: Stack
    receiver: Receiver
    reusable: bool = False
    """The run says at its end that nothing speaks against another one on this stack."""
    goes_on: bool = False
    """The stack was taken back from the run and is up."""
