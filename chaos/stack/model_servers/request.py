"""What a person asked for with `--llm` and `--model`, checked before anything else is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chaos.stack.model_servers.elsewhere import address_of, elsewhere
from chaos.stack.model_servers.model_server import ModelServer
from chaos.stack.model_servers.simulator import simulator
from chaos.stack.model_servers.vllm import vllm
from slo.documents import DocumentError

NAMES = ("simulator", "vllm")


@dataclass(frozen=True, slots=True)
class LlmRequest:
    """A choice of model server: `simulator`, `vllm`, or the URL of one that runs; and a model, if named."""

    llm: str = "simulator"
    model: str | None = None

    @classmethod
    def parse(cls, llm: str, model: str | None = None, stack: str = "local") -> LlmRequest:
        """Raises DocumentError for what is no choice, or none on that kind of stack."""
        if llm not in NAMES and "://" not in llm:
            raise DocumentError(
                [f"--llm {llm}: no model server is called that; allowed: {', '.join(NAMES)}, or a URL"]
            )
        if llm not in NAMES:
            address_of(llm)
        if stack == "compose":
            _check_for_containers(llm, model)
        if model is not None and llm == "simulator":
            raise DocumentError(
                [f"--model {model}: the simulator has no model to load; write --llm vllm --model {model}"]
            )
        return cls(llm, model)

    def resolve(self, state: Path) -> ModelServer:
        """The model server of this choice. Raises StackError when it is not to be had here."""
        if self.llm == "simulator":
            return simulator()
        if self.llm == "vllm":
            return vllm(state, self.model)
        return elsewhere(self.llm, self.model)


def _check_for_containers(llm: str, model: str | None) -> None:
    """A container reaches neither this machine's loopback nor its folders. Raises DocumentError."""
    if llm not in NAMES:
        raise DocumentError(
            [
                f"--llm {llm}: a container cannot reach a server on this machine's loopback; "
                f"with --stack compose allowed: {', '.join(NAMES)}"
            ]
        )
    if model is not None and model.startswith((".", "/", "~")):
        raise DocumentError(
            [
                f"--model {model}: a container does not see this machine's folders; with --stack compose "
                f"name a model of the hub (ORGANISATION/MODEL)"
            ]
        )


SIMULATOR = LlmRequest()
