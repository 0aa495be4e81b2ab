"""What whoever starts a run says beside the experiment, and what the two together need of a stack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chaos.experiment import LoadedExperiment
from chaos.experiment.needs import act_on_requests
from chaos.run.run_stack import StackNeed
from chaos.stack.model_servers import SIMULATOR, LlmRequest
from chaos.stack.opening import require_kind
from chaos.stack.target import AttachedTarget
from slo.documents import DocumentError


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Where a run leaves its traces and what it runs on."""

    runs: Path = Path("runs")
    state: Path = Path(".ragquake")
    stack: str = "local"
    llm: LlmRequest = SIMULATOR
    owned: bool = False
    """--i-own-this-target: what a target file lists may be public, link-local or a metadata service."""
    target: AttachedTarget | None = None
    """The stack that runs already, where `stack` is a file: decided here, once, for all that a run dials."""

    redact: bool = False
    """--redact: leave the text of questions and answers out of the bundle."""

    def __post_init__(self) -> None:
        if self.target is None or self.target.path != Path(self.stack):
            object.__setattr__(self, "target", require_kind(self.stack, owned=self.owned))
        if self.redact and self.stack == "compose":
            raise DocumentError(
                [
                    "--redact: the containers of --stack compose write their telemetry themselves, texts "
                    "and all; allowed with --stack local and with a target file"
                ]
            )


def need_of(loaded: LoadedExperiment, options: RunOptions) -> StackNeed:
    """What a run of this experiment needs of its stack."""
    return StackNeed(
        kind=options.stack,
        state=options.state,
        llm=options.llm,
        on_requests=act_on_requests(loaded, options.llm.llm if options.target is None else "its own"),
        settings=loaded.experiment.service,
        target=options.target,
    )
