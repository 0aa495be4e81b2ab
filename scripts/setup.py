"""Gives a fresh clone everything it lacks, and a clone that has it all its prompt back.

`make setup` ends with three things in place: `.venv` (the hash-locked packages and `.venv/bin/ragquake`),
Toxiproxy in `.ragquake/bin`, and the search index in `.ragquake/index`; `--vllm` adds a model server. Each
step keeps a key of what it was made from and is skipped while the key fits. Toxiproxy is compiled (42 s of
two cores) while the packages download, because both together have to fit into a first run of six minutes.

Only the standard library is used: this file runs before anything is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import steps_index
import steps_python
import steps_toxiproxy
import steps_vllm
from console import SetupError, say

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asked for."""

    packages: str
    index: bool
    toxiproxy: bool
    vllm: bool


def parse(arguments: list[str]) -> Request:
    parser = argparse.ArgumentParser(prog="scripts/setup", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--dev", action="store_true", help="also what the tests need")
    parser.add_argument("--no-index", action="store_true", help="leave the search index out")
    parser.add_argument("--no-toxiproxy", action="store_true", help="leave Toxiproxy out")
    parser.add_argument("--vllm", action="store_true", help="also vLLM and a tiny model for it")
    given = parser.parse_args(arguments)
    packages = "dev" if given.dev else "run"
    return Request(packages, not given.no_index, not given.no_toxiproxy, given.vllm)


@contextlib.contextmanager
def alone(state: Path) -> Iterator[None]:
    """Only one set-up at a time: two at once would install into the same folders."""
    state.mkdir(exist_ok=True)
    with (state / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("setup", "another set-up is running in this folder; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def set_up(request: Request) -> None:
    if request.vllm:
        steps_vllm.build_for_this_machine()  # where there is none, that is said before anything is downloaded
    toxiproxy = steps_toxiproxy.begin(ROOT) if request.toxiproxy else None
    try:
        steps_python.provide(ROOT, request.packages)
        if request.index:
            steps_index.provide(ROOT)
        if request.vllm:
            steps_vllm.provide(ROOT)
        if toxiproxy:
            toxiproxy.finish()
    finally:
        if toxiproxy:
            toxiproxy.abandon()


def main(arguments: list[str]) -> int:
    request = parse(arguments)
    started_s = time.monotonic()
    os.chdir(ROOT)
    try:
        with alone(ROOT / ".ragquake"):
            set_up(request)
    except SetupError as problem:
        print(f"\nsetup: {problem}", file=sys.stderr)
        return 4
    except subprocess.CalledProcessError as problem:
        command = " ".join(map(str, problem.cmd))
        print(f"\nsetup: this failed with exit {problem.returncode}: {command}", file=sys.stderr)
        print("       Its own message is above; put that right and run this again.", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        print("\nsetup: stopped. Run it again to go on; finished parts are kept.", file=sys.stderr)
        return 130
    say("setup", f"ready after {time.monotonic() - started_s:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
