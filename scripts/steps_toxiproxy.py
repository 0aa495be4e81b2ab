"""Puts Toxiproxy 2.12 where ragquake looks for it, or says in one line why the built-in proxy will do.

Not having Toxiproxy is never an error: the built-in proxy has the same HTTP API. It is compiled here
with `go install`, since the Go module proxy can be had in many places where release downloads cannot, and
in the background, since that takes 42 s of two cores while the packages are mostly waiting for the network.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from console import say

VERSION = "2.12.0"
OLDEST_GO = (1, 23)  # what Toxiproxy's own go.mod asks for
PROGRAMS = {"server": "toxiproxy-server", "cli": "toxiproxy-cli"}
MODULE = "github.com/Shopify/toxiproxy/v2"
LONGEST_BUILD_S = 600.0
BUILTIN = "the built-in proxy will be used"


@dataclass(frozen=True, slots=True)
class Plan:
    """Whether to build, and the sentence that says why or why not."""

    build: bool
    why: str


@dataclass(frozen=True, slots=True)
class Build:
    """A `go install` under way. Both programs arrive in `binaries`, or neither."""

    process: subprocess.Popen[bytes]
    folder: Path
    binaries: Path
    log: Path

    def finish(self) -> None:
        try:
            code = self.process.wait(LONGEST_BUILD_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if code:
            failure_note(self.binaries).write_text(f"go install ended with exit {code}; see {self.log}\n")
            say("toxiproxy", f"go install failed (see {self.log}); {BUILTIN}")
            return
        for built, name in PROGRAMS.items():
            (self.folder / built).replace(self.binaries / name)
        version_note(self.binaries).write_text(f"{VERSION}\n")
        say("toxiproxy", f"Toxiproxy {VERSION} is in {self.binaries}")

    def abandon(self) -> None:
        """Leaves nothing running and nothing half-built, also after `finish`."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def begin(root: Path) -> Build | None:
    binaries = root / ".ragquake" / "bin"
    plan = decide(binaries, dict(os.environ))
    say("toxiproxy", plan.why)
    return start(binaries, root / ".ragquake" / "go-install.log") if plan.build else None


def decide(binaries: Path, environment: dict[str, str]) -> Plan:
    """The first of these that holds: built-in asked for, one is there, Go can build it, built-in."""
    if environment.get("RAGQUAKE_PROXY") == "builtin":
        return Plan(False, f"{BUILTIN}: RAGQUAKE_PROXY=builtin")
    if url := environment.get("TOXIPROXY_URL"):
        return Plan(False, f"the Toxiproxy at {url} will be used: TOXIPROXY_URL")
    if found := shutil.which("toxiproxy-server", path=environment.get("PATH")):
        return Plan(False, f"{found} will be used: it is on PATH")
    if version_note(binaries).is_file() and version_note(binaries).read_text().strip() == VERSION:
        return Plan(False, f"Toxiproxy {VERSION} is in {binaries}")
    if (note := failure_note(binaries)).is_file():
        return Plan(False, f"{BUILTIN}: go install failed before (to try again: rm {note})")
    go = shutil.which("go", path=environment.get("PATH"))
    if go is None:
        return Plan(False, f"{BUILTIN}: neither Toxiproxy nor Go is on PATH")
    version = go_version(go)
    if version < OLDEST_GO:
        is_, needed = (".".join(map(str, numbers)) for numbers in (version, OLDEST_GO))
        return Plan(False, f"{BUILTIN}: Go {is_} cannot compile Toxiproxy, which needs {needed}")
    return Plan(True, f"compiling Toxiproxy {VERSION} with Go, in the background (about a minute)")


def go_version(go: str) -> tuple[int, ...]:
    """(1, 26) of `go1.26.8`; (0,) when Go does not say."""
    try:
        said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return (0,)
    found = re.match(r"go(\d+)\.(\d+)", said.stdout.strip())
    return (int(found[1]), int(found[2])) if found else (0,)


def start(binaries: Path, log: Path) -> Build:
    """Compiles into a folder beside the final place, so that moving the result is a rename."""
    binaries.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".build-", dir=binaries))
    settings = {"GOBIN": str(folder), "GOFLAGS": "", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["go", "install", *(f"{MODULE}/cmd/{program}@v{VERSION}" for program in PROGRAMS)],
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Build(process, folder, binaries, log)


def version_note(binaries: Path) -> Path:
    return binaries / "toxiproxy.version"


def failure_note(binaries: Path) -> Path:
    return binaries / "toxiproxy.failed"
