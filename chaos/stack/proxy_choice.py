"""Which fault proxy a stack uses, and the sentence that says why.

Real Toxiproxy is preferred because it is what other people's results were measured with; the built-in
proxy speaks the same API and is always there. The choice is made before anything starts, from facts
that a person can check: two environment variables, the project's own folder, PATH. A Toxiproxy made by
`go install` calls itself "git", so its version is then read from the build record inside the binary.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chaos.safety.targets import TargetRefused, decide_url
from chaos.stack.errors import ProxyUnavailable

FORCE = "RAGQUAKE_PROXY"
RUNNING = "TOXIPROXY_URL"
SERVER = "toxiproxy-server"
HOW_TO_GET_IT = (
    "get it with `make setup` (needs Go 1.23 or later), put toxiproxy-server on PATH, "
    f"or point {RUNNING} at a running one"
)
UNNAMED_VERSIONS = ("git", "")
GO_TIMEOUT_S = 5.0
HOW_TO_WRITE_IT = "write a Toxiproxy of this machine as http://127.0.0.1:8474, or unset it"
_NAMES_A_PORT = re.compile(r":[0-9]+/?$")

Kind = Literal["toxiproxy", "builtin"]


@dataclass(frozen=True, slots=True)
class ProxyChoice:
    """The chosen fault proxy: either a command to start, or the API of one that runs already."""

    kind: Kind
    why: str
    command: tuple[str, ...] = ()
    api: str | None = None

    @property
    def owned(self) -> bool:
        """Whether the stack starts this proxy itself, and may therefore stop it."""
        return self.api is None

    def command_on(self, host: str, port: int) -> tuple[str, ...]:
        """The command line that listens on an address; Toxiproxy takes Go's single-dash flags."""
        if self.kind == "toxiproxy":
            return (*self.command, "-host", host, "-port", str(port))
        return (*self.command, "--host", host, "--port", str(port))

    def sentence(self, version: str) -> str:
        """One line for people: which proxy, which version, why."""
        name = "Toxiproxy" if self.kind == "toxiproxy" else "the built-in proxy"
        known = f" {version}" if version and version != self.kind else ""
        return f"fault proxy: {name}{known}, because {self.why}"


def choose_proxy(
    environment: Mapping[str, str],
    home: Path,
    which: Callable[[str], str | None] = shutil.which,
) -> ProxyChoice:
    """Choose from the environment and the project's folder (`home`, usually `.ragquake`).

    Raises ProxyUnavailable when a choice is forced that cannot be had, or an address is not loopback.
    """
    forced = environment.get(FORCE, "").strip()
    if forced not in ("", "toxiproxy", "builtin"):
        raise ProxyUnavailable(f"{FORCE}={forced!r} is no fault proxy; allowed are 'toxiproxy' and 'builtin'")
    if forced == "builtin":
        return builtin(f"{FORCE}=builtin asks for it")
    found = _toxiproxy(environment, home, which)
    if found is not None:
        return found
    if forced == "toxiproxy":
        raise ProxyUnavailable(f"{FORCE}=toxiproxy asks for Toxiproxy, and there is none; {HOW_TO_GET_IT}")
    return builtin(f"there is no Toxiproxy ({home / 'bin'} and PATH hold none, {RUNNING} is not set)")


def named_version(claimed: str, choice: ProxyChoice) -> str:
    """The version that the API claims, or, where that is no version, what the binary's build record says."""
    if claimed not in UNNAMED_VERSIONS or not choice.command:
        return claimed or "unknown"
    return version_of_binary(Path(choice.command[0])) or claimed or "unknown"


def version_of_binary(binary: Path) -> str | None:
    """The module version that Go built into a binary (`go version -m`); nothing without Go or a record."""
    go = shutil.which("go")
    if go is None:
        return None
    try:
        answer = subprocess.run(
            [go, "version", "-m", str(binary)],
            capture_output=True,
            text=True,
            timeout=GO_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    for line in answer.stdout.splitlines():
        fields = line.split()
        if len(fields) >= 3 and fields[0] == "mod" and fields[1].startswith("github.com/Shopify/toxiproxy"):
            return fields[2].removeprefix("v")
    return None


def _toxiproxy(
    environment: Mapping[str, str], home: Path, which: Callable[[str], str | None]
) -> ProxyChoice | None:
    running = environment.get(RUNNING, "").strip()
    if running:
        return ProxyChoice("toxiproxy", f"{RUNNING} points at one that runs", api=_loopback(running))
    own = home / "bin" / SERVER
    if own.is_file():
        return ProxyChoice("toxiproxy", f"it is in {home / 'bin'}", command=(str(own.absolute()),))
    on_path = which(SERVER)
    if on_path:
        return ProxyChoice("toxiproxy", f"it is on PATH ({on_path})", command=(on_path,))
    return None


def builtin(why: str) -> ProxyChoice:
    """The built-in proxy, which is always to be had."""
    return ProxyChoice("builtin", why, command=(sys.executable, "-m", "chaos.proxy"))


def _loopback(url: str) -> str:
    """The URL of one address, decided. Raises ProxyUnavailable unless it is plain HTTP on this machine."""
    written = url if "://" in url else f"http://{url}"
    try:
        target = decide_url(RUNNING, written)
    except TargetRefused as refused:
        raise ProxyUnavailable(f"{refused}; {HOW_TO_WRITE_IT}") from None
    if target.path or not _NAMES_A_PORT.search(written):
        raise ProxyUnavailable(f"{RUNNING}: {url!r} is not the address of a Toxiproxy; {HOW_TO_WRITE_IT}")
    return target.url
