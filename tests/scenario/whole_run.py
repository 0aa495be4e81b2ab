"""A whole run in a process of its own (`ragquake run`, its warden, its stack, its journeys), to do harm to.

Everything is real but for the model that the service embeds with. The faults are the examples of the
catalogue, so that a new kind is among them from its first day.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML

from chaos.control.builtin_proxy import BuiltinProxy
from chaos.control.toxiproxy import Toxiproxy
from chaos.faults import fault_kinds
from chaos.run.journal import outstanding_undos, read
from chaos.stack.description import StackDescription, read_description
from chaos.stack.process import ProcessIdentity, marked

ROOT = Path(__file__).resolve().parents[2]
RAGQUAKE = Path(sys.executable).with_name("ragquake")
READY_WITHIN_S = 120.0
SMALLER: Mapping[str, Mapping[str, Any]] = {"memory_pressure": {"mib": 64}}
"""Than in the example, which is for a machine that has nothing else to do."""
ORDER = ("restart", "*", "pause", "kill")
"""A part that stands still or is gone cannot be treated otherwise any more."""


def every_fault() -> dict[str, dict[str, Any]]:
    """One fault of each kind, as `ragquake explain` shows it, in working order."""
    found = {}
    for kind, fault in fault_kinds().items():
        example = next(line for line in (fault.__doc__ or "").splitlines() if f"kind: {kind}" in line)
        [raw] = YAML(typ="safe").load(example).values()
        found[kind.replace("_", "-")] = {**raw, **SMALLER.get(kind, {})}

    def place(name: str) -> int:
        kind = str(found[name]["kind"])
        return ORDER.index(kind) if kind in ORDER else ORDER.index("*")

    return {name: found[name] for name in sorted(found, key=place)}


BASELINE: Mapping[str, Any] = {"name": "baseline", "for": "1s"}


def experiment(faults: Mapping[str, Any], phases: Sequence[Mapping[str, Any]] = (), rate: str = "4/s") -> str:
    """Without phases: one second of none, then all of them for as long as it takes. JSON is YAML."""
    return json.dumps(
        {
            "apiVersion": "ragquake/v1",
            "kind": "Experiment",
            "name": "everything",
            "title": "Every fault at once",
            "owner": "tests",
            "hypothesis": "When the run ends, however it ends, nothing of it is left.",
            "load": {"baseline_rate": rate, "journeys": {"ask": 1}},
            "faults": faults,
            "phases": phases or [BASELINE, {"name": "fault", "for": "300s", "faults": list(faults)}],
        }
    )


def _said_of(process: psutil.Process) -> str:
    """Which process it is; it may end while it is asked, and then it is asked for again."""
    try:
        return f"{process.pid} {' '.join(process.cmdline()[:4])}"
    except psutil.Error:
        return f"{process.pid} (ending)"


@dataclass(frozen=True, slots=True)
class Remains:
    """One bundle and what is still there of its run; `borrowed` is somebody else's fault proxy, if any."""

    bundle: Path
    borrowed: str | None = None

    @property
    def stack(self) -> StackDescription:
        description = read_description(self.bundle / "stack.json")
        assert description is not None
        return description

    def journal(self) -> list[dict[str, Any]]:
        return read(self.bundle / "journal.jsonl")

    def count(self, event: str) -> int:
        return sum(entry["event"] == event for entry in self.journal())

    def identity(self, part: str) -> ProcessIdentity:
        identity = self.stack.parts[part].identity
        assert identity is not None
        return identity

    def hogs(self) -> list[ProcessIdentity]:
        undos = [entry["undo"] for entry in self.journal() if entry["event"] == "undo.declared"]
        named = [one for undo in undos if undo["do"] == "end" for one in undo["processes"]]
        return [ProcessIdentity(one["pid"], one["created_s"]) for one in named]

    def on_the_proxies(self) -> list[str]:
        """The faults that the run's fault proxy, and the one that reads requests, have in."""
        stack, found = self.stack, []
        if stack.proxy is not None:
            for name, state in Toxiproxy(stack.proxy.api).proxies().items():
                found += [f"toxic {toxic.name} on {name}" for toxic in state.toxics]
                found += [] if state.enabled else [f"{name} is disabled"]
        if stack.requests_proxy is not None:
            reading = BuiltinProxy(stack.requests_proxy.api)
            for name in reading.proxies():
                found += [f"fault {fault} on requests of {name}" for fault in reading.http_faults(name)]
        return found

    def left(self) -> list[str]:
        """Whatever is still there of the run, in words."""
        processes = [_said_of(one) for one in marked(str(self.bundle / "stack.json"))]
        hogs = [f"hog {one.pid}" for one in self.hogs() if one.alive]
        faults = [f"fault {one.fault}" for one in outstanding_undos(self.journal())]
        borrowed = Toxiproxy(self.borrowed).proxies() if self.borrowed else {}
        return processes + hogs + faults + [f"proxy {name}: {one.toxics}" for name, one in borrowed.items()]

    def left_after(self, seconds: float) -> list[str]:
        until_s = time.monotonic() + seconds
        while (left := self.left()) and time.monotonic() < until_s:
            time.sleep(0.05)
        return left


@dataclass(frozen=True, slots=True)
class WholeRun:
    """A run under way; `borrowed` is the API of somebody else's fault proxy, when it uses one."""

    process: subprocess.Popen[bytes]
    runs: Path
    borrowed: str | None = None

    @property
    def bundle(self) -> Path:
        return (self.runs / "latest").resolve()

    @property
    def remains(self) -> Remains:
        return Remains(self.bundle, self.borrowed)

    @property
    def said(self) -> str:
        return (self.runs / "said").read_text()

    @property
    def stack(self) -> StackDescription:
        return self.remains.stack

    def journal(self) -> list[dict[str, Any]]:
        return self.remains.journal()

    def count(self, event: str) -> int:
        return self.remains.count(event)

    def wait_until(self, seen: Callable[[], bool], what: str) -> None:
        until_s = time.monotonic() + READY_WITHIN_S
        while not seen():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < until_s, f"{what} never came: {self.said}"
            time.sleep(0.02)

    def identity(self, part: str) -> ProcessIdentity:
        return self.remains.identity(part)

    def hogs(self) -> list[ProcessIdentity]:
        return self.remains.hogs()

    def on_the_proxies(self) -> list[str]:
        return self.remains.on_the_proxies()

    def left(self) -> list[str]:
        return self.remains.left()

    def left_after(self, seconds: float) -> list[str]:
        return self.remains.left_after(seconds)


def launch(
    folder: Path,
    stand_ins: Path,
    text: str,
    environment: Mapping[str, str],
    borrowed: str | None = None,
    words: Sequence[str | Path] = (),
) -> WholeRun:
    """Start a run of an experiment; in a folder in which another one was before, the next one after that.

    `words` are another command than to run it once.
    """
    (folder / "everything.yaml").write_text(text)
    state, runs = folder / "state", folder / "runs"
    for made in (state, runs):
        made.mkdir(exist_ok=True)
    for shared in ("index", "bin"):
        if (ROOT / ".ragquake" / shared).exists() and not (state / shared).exists():
            (state / shared).symlink_to(ROOT / ".ragquake" / shared)
    path = os.pathsep.join(filter(None, (str(stand_ins), os.environ.get("PYTHONPATH"))))
    own = {"PYTHONPATH": path, "RAGQUAKE_SAFETY_LEVER": str(folder / "lever")}
    with (runs / "said").open("wb") as said:
        process = subprocess.Popen(
            [RAGQUAKE, *(words or ("run", folder / "everything.yaml")), "--runs", runs, "--state", state],
            cwd=ROOT,
            env={**os.environ, **own, **environment},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return WholeRun(process, runs, borrowed)


@contextmanager
def whole_run(
    folder: Path,
    stand_ins: Path,
    text: str,
    environment: Mapping[str, str],
    borrowed: str | None = None,
    words: Sequence[str | Path] = (),
) -> Iterator[WholeRun]:
    """A run of an experiment, which is gone at the end of the block whatever became of it."""
    one = launch(folder, stand_ins, text, environment, borrowed, words)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        sweep(one.runs)


def sweep(runs: Path) -> None:
    """End every process that bundles in a folder of runs have left."""
    for bundle in bundles(runs):
        for left in marked(str(bundle / "stack.json")):
            left.kill()


def bundles(runs: Path) -> set[Path]:
    """The bundles in a folder of runs; one that is still being made has a dot before its name."""
    found = {journal.parent for journal in runs.glob("[!.]*/journal.jsonl")}
    return {bundle for bundle in found if not bundle.is_symlink()}
