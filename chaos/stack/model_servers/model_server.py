"""A model server as the stack sees it: what to start and how long that may take, or where one runs already.

The service knows nothing of the choice: it is told an address behind the fault proxy and the name of a
model. So everything in which the choices differ is here, as data that can be read before anything starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["simulator", "vllm", "url"]
READY_PATH = "/health"
READY_TIMEOUT_S = 60.0
NICE = 10
"""Like the other parts under test: below the proxy and the generator, which measure them."""


@dataclass(frozen=True, slots=True)
class ModelServer:
    """What stands behind the proxy as `llm`.

    One with an `address` runs elsewhere and is neither started nor stopped. `service_settings` go with the
    choice (a slow model gives shorter answers); an experiment's own settings win over them.
    """

    kind: Kind
    version: str
    model: str
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    address: str | None = None
    ready_timeout_s: float = READY_TIMEOUT_S
    nice: int = NICE
    service_settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def owned(self) -> bool:
        """Whether the stack starts it, and may therefore stop it."""
        return self.address is None

    def command_on(self, host: str, port: int) -> tuple[str, ...]:
        """The command line that listens on an address; vLLM and the simulator take the same flags for it."""
        return (*self.command, "--host", host, "--port", str(port))

    def sentence(self) -> str:
        """One line for people: which model server, which version, which model, what follows from it."""
        name = {"simulator": "the simulator", "vllm": "vLLM", "url": "the one"}[self.kind]
        where = f" at {self.address}, which this run neither starts nor stops" if self.address else ""
        said = (
            f"model server: {name} {self.version}".rstrip() if self.owned else f"model server: {name}{where}"
        )
        settings = ", ".join(f"{name}={value}" for name, value in self.service_settings.items())
        return f"{said}, model {self.model}" + (f" ({settings} for the service)" if settings else "")
