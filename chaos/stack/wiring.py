"""Who listens where and who is told about it: the addresses and command lines of a local stack.

All of it follows from the ports alone, before anything runs, so it can be read and tested without
starting a process. The service sees its dependencies only through the fault proxy; the address behind
the proxy is passed beside it, because spans name the real server (`server.address`) and the proxy
(`network.peer.address`) apart.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chaos.stack.description import DependencyRecord
from chaos.stack.model_servers import ModelServer, simulator
from chaos.stack.ports import LOOPBACK
from chaos.stack.proxy_choice import ProxyChoice

DEPENDENCIES = ("vector_db", "llm")
PORTS = ("service", "proxy", *DEPENDENCIES, *(f"{name}_proxy" for name in DEPENDENCIES))
"""The ports of a stack; each can be named, the others are chosen free."""
REQUESTS_PORTS = ("requests_proxy", *(f"{name}_requests" for name in DEPENDENCIES))
"""Those of the built-in proxy behind a Toxiproxy, where one is: its API, and one for each dependency."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """The addresses of a local stack; every one of them is loopback."""

    ports: Mapping[str, int]
    index_dir: Path
    model_server: ModelServer = field(default_factory=simulator)
    evidence: Path | None = None
    """Where the built-in proxy writes what its faults did; a stack has one at most."""

    def url(self, name: str) -> str:
        return f"http://{self.address(name)}"

    def address(self, name: str) -> str:
        """Where a part listens; a model server that runs elsewhere keeps its own address."""
        if name == "llm" and self.model_server.address is not None:
            return self.model_server.address
        return f"{LOOPBACK}:{self.ports[name]}"

    def dependency(self, name: str) -> DependencyRecord:
        """Where the service calls a dependency, and where the fault proxy passes that on to."""
        between = f"{name}_requests"
        return DependencyRecord(
            proxy=name,
            listen=self.address(f"{name}_proxy"),
            upstream=self.address(name),
            requests=self.address(between) if between in self.ports else None,
        )

    def service_settings(self) -> dict[str, str]:
        return {
            "RAG_HOST": LOOPBACK,
            "RAG_PORT": str(self.ports["service"]),
            "RAG_INDEX_DIR": str(self.index_dir),
            "RAG_VECTOR_DB_URL": self.url("vector_db_proxy"),
            "RAG_VECTOR_DB_ADDRESS": self.address("vector_db"),
            "RAG_LLM_URL": f"{self.url('llm_proxy')}/v1",
            "RAG_LLM_ADDRESS": self.address("llm"),
            "RAG_LLM_MODEL": self.model_server.model,
        }

    def vector_db_command(self) -> tuple[str, ...]:
        return (*_module("rag_service.vector_db"), *self._listen("vector_db"), "--index", str(self.index_dir))

    def model_server_command(self) -> tuple[str, ...]:
        return self.model_server.command_on(LOOPBACK, self.ports["llm"])

    def service_command(self) -> tuple[str, ...]:
        return _module("rag_service")

    def ingest_command(self) -> tuple[str, ...]:
        return (*_module("rag_service.ingest"), "--out", str(self.index_dir))

    def proxy_command(self, choice: ProxyChoice) -> tuple[str, ...]:
        command = choice.command_on(LOOPBACK, self.ports["proxy"])
        return (*command, *self._evidence()) if choice.kind == "builtin" else command

    def requests_proxy_command(self) -> tuple[str, ...]:
        return (*_module("chaos.proxy"), *self._listen("requests_proxy"), *self._evidence())

    def _evidence(self) -> tuple[str, ...]:
        return () if self.evidence is None else ("--evidence", str(self.evidence))

    def _listen(self, name: str) -> tuple[str, ...]:
        return ("--host", LOOPBACK, "--port", str(self.ports[name]))


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name)
