"""Talking to the container engine through its command line, and asking it before believing in it.

`docker` on PATH is only a client: it answers `--version` where no engine runs and no container can start.
A program that is missing or silent is an answer like any other, so that callers have one thing to check.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chaos.stack.errors import StackError

ASK_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Said:
    """How a command of the container engine ended, and what it said."""

    code: int
    output: str


class Engine(Protocol):
    """Runs a command line of the container engine; `log` takes its output where it is long."""

    def __call__(
        self, command: Sequence[str], *, env: Mapping[str, str], timeout_s: float, log: Path | None = None
    ) -> Said: ...


def require_engine(engine: Engine, environment: Mapping[str, str]) -> None:
    """Raise StackError, saying which piece is missing, unless containers can be started here."""
    server = engine(
        ("docker", "version", "--format", "{{.Server.Version}}"), env=environment, timeout_s=ASK_TIMEOUT_S
    )
    if server.code:
        raise StackError(
            "the compose stack needs a running container engine, and none answers "
            f"({_last_line(server.output)}). Start it, or leave out STACK=compose: the local stack needs none"
        )
    plugin = engine(("docker", "compose", "version"), env=environment, timeout_s=ASK_TIMEOUT_S)
    if plugin.code:
        raise StackError(
            "the container engine runs, but `docker compose` is not there "
            f"({_last_line(plugin.output)}). Install the Compose plugin (version 2.20 or later)"
        )


def run_engine(
    command: Sequence[str], *, env: Mapping[str, str], timeout_s: float, log: Path | None = None
) -> Said:
    """Run a command to its end. A missing program or a time-out is an answer like any other."""
    try:
        done = subprocess.run(
            command,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
        )
    except FileNotFoundError:
        return Said(127, f"{command[0]} is not on PATH")
    except subprocess.TimeoutExpired:
        return Said(124, f"`{' '.join(command[:4])} …` gave no answer in {timeout_s:.0f} s")
    output = done.stdout.decode("utf-8", "replace")
    if log is not None:
        with log.open("a", encoding="utf-8") as file:
            file.write(output)
    return Said(done.returncode, output)


def _last_line(output: str) -> str:
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "no message")
