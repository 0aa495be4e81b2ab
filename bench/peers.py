"""Mock model servers from PyPI to be held against, each in an environment of its own under `.ragquake/`.

They are pinned, fetched the first time they are measured, and never part of this project's own environment.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import LOOPBACK, ROOT, Running, free_port

FOLDER = ROOT / ".ragquake" / "bench-peers"


class CannotInstall(Exception):
    """A peer is not to be had; the message says why, in the installer's last words."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A package with a command that serves OpenAI's API; `{port}` in its arguments is where."""

    name: str
    requirement: str
    command: str
    arguments: Sequence[str]
    model: str

    @property
    def title(self) -> str:
        return self.requirement.replace("==", " ")


PEERS = (
    Peer(
        "xpyd-sim",
        "xpyd-sim==0.5.0",
        "xpyd-sim",
        (
            *("serve", "--host", LOOPBACK, "--port", "{port}", "--model", "simulator"),
            *("--prefill-delay-ms", "0", "--decode-delay-per-token-ms", "0"),
        ),
        "simulator",
    ),
    Peer(
        "llmock",
        "llmock==0.2.2",
        "llmock",
        ("serve", "--host", LOOPBACK, "--port", "{port}", "--response-style", "echo"),
        "gpt-4o",
    ),
)


def installed(peer: Peer) -> Path:
    """The peer's command. Raises CannotInstall."""
    home = FOLDER / peer.name
    command = home / "bin" / peer.command
    made_for = home / "requirement"
    if command.exists() and made_for.is_file() and made_for.read_text("utf-8") == peer.requirement:
        return command
    _call([sys.executable, "-m", "venv", "--clear", str(home)], peer)
    _call([str(home / "bin" / "python"), "-m", "pip", "install", "-q", peer.requirement], peer)
    if not command.exists():
        raise CannotInstall(f"{peer.title} has no command {peer.command!r}")
    made_for.write_text(peer.requirement, "utf-8")
    return command


@contextmanager
def running(peer: Peer) -> Iterator[Running]:
    """The peer as a process. Raises CannotInstall and DidNotStart."""
    command, port = installed(peer), free_port()
    log = FOLDER / f"{peer.name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [command, *(word.format(port=port) for word in peer.arguments)],
            cwd=FOLDER,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    started = Running(peer.title, process, port, log)
    try:
        started.wait_until_ready("/health")
        yield started
    finally:
        started.end()


def _call(command: Sequence[str], peer: Peer) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        words = done.stdout.strip().splitlines() or ["no word of why"]
        raise CannotInstall(f"{peer.title} could not be installed: {words[-1]}")
