"""The same stack in containers, for people who have an engine: docker-compose.yml, started and stopped.

Evidence comes as files: the collector writes the runner's own spool format into BUNDLE/otlp, because the
runner's receiver listens on loopback and a container on Linux cannot reach the host's loopback. For the
same reason the barrier is asked for from inside the service's container, where the service takes the
caller for local.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from chaos import __version__
from chaos.control.fault_proxy import FaultProxyError
from chaos.control.toxiproxy import Toxiproxy
from chaos.stack.barrier import Flushed
from chaos.stack.breakers import breaker_states
from chaos.stack.container_engine import ASK_TIMEOUT_S, Engine, Said, require_engine, run_engine
from chaos.stack.description import (
    FILE_NAME,
    DependencyRecord,
    ModelServerRecord,
    PartRecord,
    ProxyRecord,
    ServiceRecord,
    StackDescription,
)
from chaos.stack.environment import child_environment, installed_versions, this_machine
from chaos.stack.errors import StackError
from chaos.stack.ports import LOOPBACK, choose_ports
from chaos.stack.process import ProcessIdentity, spawned

COMPOSE_FILE = Path(__file__).resolve().parents[2] / "docker-compose.yml"
PROJECT = "ragquake"
UP_TIMEOUT_S = 3600.0
"""The first start builds an image with torch in it; with vLLM it also downloads the weights."""
DOWN_TIMEOUT_S = 60.0
DEPENDENCIES = {"vector_db": ("toxiproxy:7101", "vector-db:7100"), "llm": ("toxiproxy:7201", "{llm}:7200")}
LLMS = {"simulator": "model-server", "vllm": "vllm"}
SIMULATOR_MODEL = "simulator"
DEFAULT_VLLM_MODEL = "Qwen/Qwen2.5-1.5B-Instruct"
FLUSH = (
    "import urllib.request as u; "
    "print(u.urlopen(u.Request('http://127.0.0.1:8080/v1/telemetry/flush', method='POST'), timeout=15)"
    ".read().decode())"
)
VERSION = (
    "import urllib.request as u; print(u.urlopen('http://vllm:7200/version', timeout=5).read().decode())"
)
DOWN_HINT = f"docker compose -p {PROJECT} down"


class ComposeStack:
    """The stack of one run in containers; describes itself in FOLDER/stack.json, logs to FOLDER/logs."""

    def __init__(
        self,
        *,
        folder: Path,
        service_settings: Mapping[str, str] | None = None,
        llm: str = "simulator",
        model: str | None = None,
        environment: Mapping[str, str] | None = None,
        on_progress: Callable[[str], None] = lambda _line: None,
        engine: Engine | None = None,
    ) -> None:
        if llm not in LLMS:
            raise StackError(
                f"the compose stack has no model server {llm!r}; it has {', '.join(LLMS)} "
                f"(another one's address works with the local stack only)"
            )
        self.stack_file = folder.absolute() / FILE_NAME
        self.logs = folder.absolute() / "logs"
        self.evidence = folder.absolute() / "otlp"
        self.description = StackDescription(kind="compose")
        self._settings = dict(service_settings or {})
        self._llm = llm
        self._model = model
        self._inherited = dict(os.environ if environment is None else environment)
        self._say = on_progress
        self._engine: Engine = engine or run_engine
        self._override = self.stack_file.with_name("docker-compose.override.json")
        self._variables: dict[str, str] = {}
        self._begun = False

    @property
    def service_url(self) -> str:
        if self.description.service is None:
            raise StackError("the stack was not started, so its service has no address")
        return self.description.service.url

    @property
    def proxy_api(self) -> str:
        if self.description.proxy is None:
            raise StackError("the stack was not started, so its fault proxy has no address")
        return self.description.proxy.api

    def start(self) -> Self:
        """Start everything and wait until it is healthy. Whatever goes wrong, nothing is left running."""
        require_engine(self._engine, self._inherited)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Keep the containers' logs, then end them; the collector writes out its last spans on the way."""
        if not self._begun:
            return
        self._compose("logs", "--no-color", timeout_s=DOWN_TIMEOUT_S, log=self.logs / "containers.log")
        down = self._compose(
            "down", "--timeout", "10", timeout_s=DOWN_TIMEOUT_S, log=self.logs / "compose.log"
        )
        if down.code:
            self._say(
                f"docker compose down failed (see {self.logs / 'compose.log'}); end them with: {DOWN_HINT}"
            )
        self._begun = False

    def require_alive(self) -> None:
        """Raise StackError when a container that the stack needs has ended since."""
        said = self._compose("ps", "--status", "exited", "--services", timeout_s=ASK_TIMEOUT_S)
        if ended := said.output.split():
            raise StackError(
                f"{', '.join(ended)} ended; see {self.logs / 'containers.log'} once the stack is down, "
                f"or `docker compose -p {PROJECT} logs {ended[0]}` now"
            )

    def breaker_states(self) -> dict[str, str]:
        """What the service says about its breakers, by name; nothing while it does not answer."""
        return breaker_states(self.service_url)

    def flush(self) -> Flushed:
        """The barrier: the service's last span sequence number, after it has handed over every span."""
        said = self._compose("exec", "-T", "service", "python", "-c", FLUSH, timeout_s=ASK_TIMEOUT_S)
        try:
            return Flushed.of(json.loads(said.output))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StackError(
                f"the service did not flush its telemetry: {said.output.strip()[-300:]}"
            ) from error

    def adopt(
        self,
        name: str,
        process: subprocess.Popen[bytes] | ProcessIdentity,
        log: Path | None = None,
    ) -> None:
        """Record a process of the host (journeys, warden), so that a rollback can end it."""
        identity = process if isinstance(process, ProcessIdentity) else spawned(process)
        self.description.parts[name] = PartRecord(
            pid=identity.pid, created_s=identity.created_s, log=str(log) if log else None
        )
        self.description.write(self.stack_file)

    def child_environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment for a process of the host that belongs to this stack."""
        return child_environment(self._inherited, str(self.stack_file), extra)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        ports = choose_ports(("service", "proxy"), {})
        self._variables = self.variables(ports)
        for folder in (self.logs, self.evidence):
            folder.mkdir(parents=True, exist_ok=True)
        self._override.write_text(json.dumps({"services": {"service": {"environment": self._settings}}}))
        self._say("starting the containers (the first time their image is built: several minutes)")
        self._begun = True
        up = self._compose(
            "up", "--detach", "--build", "--wait", timeout_s=UP_TIMEOUT_S, log=self.logs / "compose.log"
        )
        if up.code:
            raise StackError(
                f"docker compose up ended with exit {up.code}; the end of {self.logs / 'compose.log'}:\n"
                + "\n".join(f"    {line}" for line in up.output.splitlines()[-12:])
            )
        self._describe(ports)

    def variables(self, ports: Mapping[str, int]) -> dict[str, str]:
        """What docker-compose.yml leaves open, and how this run fills it in."""
        return {
            "RAGQUAKE_SERVICE_PORT": str(ports["service"]),
            "RAGQUAKE_PROXY_PORT": str(ports["proxy"]),
            "RAGQUAKE_LLM": LLMS[self._llm],
            "RAGQUAKE_LLM_MODEL": self.served_model,
            "RAGQUAKE_EVIDENCE": str(self.evidence),
            "RAGQUAKE_USER": f"{os.getuid()}:{os.getgid()}",
        }

    def _describe(self, ports: Mapping[str, int]) -> None:
        api = f"http://{LOOPBACK}:{ports['proxy']}"
        try:
            version = Toxiproxy(api).version()
        except FaultProxyError as error:
            raise StackError(f"the Toxiproxy container at {api} does not answer: {error}") from error
        self.description.proxy = ProxyRecord(
            kind="toxiproxy", version=version, api=api, why="the compose stack brings it", owned=True
        )
        self.description.service = ServiceRecord(
            url=f"http://{LOOPBACK}:{ports['service']}", settings=self._settings
        )
        for name, (listen, upstream) in DEPENDENCIES.items():
            self.description.dependencies[name] = DependencyRecord(
                proxy=name, listen=listen, upstream=upstream.format(llm=LLMS[self._llm])
            )
        self.description.model_server = self.model_server()
        self.description.versions = installed_versions()
        self.description.machine = this_machine()
        self.description.write(self.stack_file)

    def model_server(self) -> ModelServerRecord:
        """Which model server answers; of vLLM, its container is asked which one it is."""
        if self._llm == "simulator":
            return ModelServerRecord(kind="simulator", version=__version__, model=SIMULATOR_MODEL, owned=True)
        said = self._compose("exec", "-T", "service", "python", "-c", VERSION, timeout_s=ASK_TIMEOUT_S)
        try:
            version = str(json.loads(said.output)["version"])
        except (ValueError, KeyError, TypeError):
            version = "unknown"
        return ModelServerRecord(kind="vllm", version=version, model=self.served_model, owned=True)

    @property
    def served_model(self) -> str:
        """The model that the containers are told to serve and to ask for."""
        if self._llm == "simulator":
            return SIMULATOR_MODEL
        return self._model or self._inherited.get("RAGQUAKE_LLM_MODEL") or DEFAULT_VLLM_MODEL

    def _compose(self, *words: str, timeout_s: float, log: Path | None = None) -> Said:
        profile = ("--profile", "gpu") if self._llm == "vllm" else ()
        files = ("-f", str(COMPOSE_FILE), "-f", str(self._override))
        command = ("docker", "compose", "-p", PROJECT, *files, *profile, *words)
        return self._engine(command, env={**self._inherited, **self._variables}, timeout_s=timeout_s, log=log)
