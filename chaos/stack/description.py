"""stack.json: who runs where, on which port, started how; the only memory that survives a dead runner.

The warden, `ragquake rollback` and `ragquake down` stop what stands here and nothing else, the evaluator
takes the environment of a verdict from here, so it is written whole (temporary file, then rename) every
time a fact is added. The keys are fixed in docs/design/0001-the-first-true-path.md, section 6.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chaos.stack.errors import StackError
from chaos.stack.process import ProcessIdentity

FILE_NAME = "stack.json"


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)


class PartRecord(_Record):
    """One process of the stack; a part that this stack did not start has no pid."""

    url: str | None = None
    pid: int | None = None
    created_s: float | None = None
    command: list[str] = Field(default_factory=list)
    log: str | None = None

    @classmethod
    def of(
        cls,
        identity: ProcessIdentity,
        *,
        command: Sequence[str] = (),
        url: str | None = None,
        log: Path | None = None,
    ) -> PartRecord:
        """The record of a process."""
        return cls(
            url=url,
            pid=identity.pid,
            created_s=identity.created_s,
            command=list(command),
            log=str(log) if log else None,
        )

    @property
    def identity(self) -> ProcessIdentity | None:
        if self.pid is None or self.created_s is None:
            return None
        return ProcessIdentity(pid=self.pid, created_s=self.created_s)


class ProxyRecord(_Record):
    """The fault proxy: which, where, why, and whether the stack started it itself."""

    kind: Literal["toxiproxy", "builtin"]
    version: str = ""
    api: str
    why: str
    owned: bool


class DependencyRecord(_Record):
    """One dependency behind the fault proxy: where the service calls, where that leads, and by what way.

    `requests` is where the built-in proxy listens that stands between a Toxiproxy and the dependency. In a
    target that runs already each dependency has a `server` of its own, and `reads_requests` says of a
    built-in proxy whether it reads them.
    """

    proxy: str
    listen: str
    upstream: str
    requests: str | None = None
    server: ProxyRecord | None = None
    reads_requests: bool = False

    @property
    def next(self) -> str:
        """Where the fault proxy passes on to."""
        return self.requests or self.upstream


class ModelServerRecord(_Record):
    """The model server behind the proxy: which, and whether the stack started it itself."""

    kind: Literal["simulator", "vllm", "url"]
    version: str
    model: str
    owned: bool


class ServiceRecord(_Record):
    """The service under test and the settings that it was given."""

    url: str
    settings: dict[str, str] = Field(default_factory=dict)
    settings_left_out: dict[str, str] = Field(default_factory=dict)
    """Those that the experiment has for stacks that a run starts itself, and that a target was not given."""


class MachineRecord(_Record):
    """The machine, as far as it explains a number."""

    cores: int
    memory_bytes: int
    python: str
    platform: str


class StackDescription(_Record):
    """The content of stack.json."""

    schema_name: Literal["ragquake/stack/v1"] = Field(default="ragquake/stack/v1", alias="schema")
    kind: Literal["local", "compose", "attached"] = "local"
    target: str | None = None
    """The name of a target that runs already."""
    proxy: ProxyRecord | None = None
    requests_proxy: ProxyRecord | None = None
    """The built-in proxy that reads requests, where one does: the fault proxy itself, or one behind it."""
    parts: dict[str, PartRecord] = Field(default_factory=dict)
    dependencies: dict[str, DependencyRecord] = Field(default_factory=dict)
    model_server: ModelServerRecord | None = None
    service: ServiceRecord | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    machine: MachineRecord | None = None
    lent_by: str | None = None
    """In a run's bundle: the stack.json of the stack that goes on when the run is over."""
    lent_to: str | None = None
    """In the stack's own: the bundle of the run that has it now."""

    def identities(self) -> dict[str, ProcessIdentity]:
        """The recorded process of each part that has one, by the part's name."""
        found = {name: part.identity for name, part in self.parts.items()}
        return {name: identity for name, identity in found.items() if identity}

    def living(self) -> dict[str, ProcessIdentity]:
        """The recorded processes that still run."""
        return {name: identity for name, identity in self.identities().items() if identity.alive}

    def to_json(self) -> str:
        return json.dumps(self.model_dump(by_alias=True, mode="json"), indent=1, ensure_ascii=False) + "\n"

    def write(self, path: Path) -> None:
        """Replace the file in one step, so that a reader sees the old text or the new one, never a half."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(self.to_json())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def read_description(path: Path) -> StackDescription | None:
    """The stack.json at the path, or nothing when there is none. Raises StackError when it is unreadable."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:  # a mark in a process's environment may name anything
        raise StackError(f"cannot read {path}: {error}") from error
    try:
        return StackDescription.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise StackError(
            f"{path} is not a stack description ({where}: {first['msg']}), so its processes cannot be found "
            f"through it; look for them with: ps -ef | grep -E 'rag_service|toxiproxy|chaos.proxy'"
        ) from error
