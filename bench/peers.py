"""Mock model servers from PyPI to be held against, each in an environment of its own under `.ragquake/`.

They are pinned, fetched the first time they are measured, and never part of this project's own environment.
Each is given its best: no waiting, uvicorn's fast loop and parser, its log turned down where it can be, and
answers as long as everybody's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import LOOPBACK, ROOT, DidNotStart, Running, free_port
from bench.token_streams import ANSWER_TOKENS

FOLDER = ROOT / ".ragquake" / "bench-peers"


class CannotInstall(Exception):
    """A peer is not to be had; the message says why, in the installer's last words."""


@dataclass(frozen=True, slots=True)
class Script:
    """What a peer is told over HTTP before it is asked, because no flag of it says so."""

    path: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Peer:
    """A package, and its command of the same name; `{port}` in the arguments is where it shall listen."""

    command: str
    version: str
    arguments: Sequence[str]
    model: str
    script: Script | None = None

    @property
    def title(self) -> str:
        return f"{self.command} {self.version}"

    @property
    def requirements(self) -> tuple[str, ...]:
        return (f"{self.command}=={self.version}", "uvicorn[standard]")


PEERS = (
    Peer(
        "xpyd-sim",
        "0.5.0",
        (
            *("serve", "--host", LOOPBACK, "--port", "{port}", "--model", "simulator"),
            *("--prefill-delay-ms", "0", "--decode-delay-per-token-ms", "0"),
        ),
        "simulator",
    ),
    Peer(
        "llmock",
        "0.2.2",
        ("serve", "--host", LOOPBACK, "--port", "{port}", "--log-level", "warning"),
        "gpt-4o",
        # Its own answers have a few words, with an event for each.
        Script(
            "/_llmock/scenario",
            {"behaviors": [{"type": "reply", "text": " word" * ANSWER_TOKENS, "times": None}]},
        ),
    ),
)


def installed(peer: Peer) -> Path:
    """The peer's command. Raises CannotInstall."""
    home = FOLDER / peer.command
    command = home / "bin" / peer.command
    made_for = home / "requirements"
    wanted = "\n".join(peer.requirements)
    if command.exists() and made_for.is_file() and made_for.read_text("utf-8") == wanted:
        return command
    _call([sys.executable, "-m", "venv", "--clear", str(home)], peer)
    _call([str(home / "bin" / "python"), "-m", "pip", "install", "-q", *peer.requirements], peer)
    if not command.exists():
        raise CannotInstall(f"{peer.title} has no command {peer.command!r}")
    made_for.write_text(wanted, "utf-8")
    return command


@contextmanager
def running(peer: Peer) -> Iterator[Running]:
    """The peer as a process. Raises CannotInstall and DidNotStart."""
    command, port = installed(peer), free_port()
    log = FOLDER / f"{peer.command}.log"
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
        if peer.script is not None:
            tell(started, peer.script)
        yield started
    finally:
        started.end()


def tell(server: Running, script: Script) -> None:
    """Raises DidNotStart when the peer does not take it."""
    request = urllib.request.Request(
        server.url + script.path,
        data=json.dumps(script.body).encode(),
        headers={"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10.0):
            pass
    except (OSError, urllib.error.URLError) as error:
        raise DidNotStart(f"{server.name} did not take what it was told at {script.path}: {error}") from None


def _call(command: Sequence[str], peer: Peer) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        words = done.stdout.strip().splitlines() or ["no word of why"]
        raise CannotInstall(f"{peer.title} could not be installed: {words[-1]}")
