"""A runner is killed with kill -9 while every kind of fault is in: within 10 s nothing of it is left.

The run is a real one (`ragquake run`, its warden, its stack, its journeys) but for the model that the service
embeds with. Its fault proxy is somebody else's and lives on, so a toxic that was forgotten would still be
there. The faults are the examples of the catalogue, so that a new kind is among them from its first day.
RAGQUAKE_KILLS says how often the runner is killed (1; by hand 50).
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from chaos.clock import SystemClock
from chaos.exit_codes import ExitCode
from chaos.faults import fault_kinds
from chaos.journal import outstanding_undos, read
from chaos.processes import signals
from chaos.stack.environment import child_environment
from chaos.stack.part import Part, PartPlan, wait_ready
from chaos.stack.ports import reserve_port
from chaos.stack.process import ProcessIdentity, marked
from chaos.stack.proxy_choice import choose_proxy
from chaos.toxiproxy import Toxiproxy

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
RAGQUAKE = Path(sys.executable).with_name("ragquake")
KILLS = int(os.environ.get("RAGQUAKE_KILLS", "1"))
WITHIN_S = 10.0
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


def experiment(faults: Mapping[str, Any]) -> str:
    """JSON is YAML."""
    return json.dumps(
        {
            "apiVersion": "ragquake/v1",
            "kind": "Experiment",
            "name": "everything",
            "title": "Every fault at once",
            "owner": "tests",
            "hypothesis": "When the runner is killed, nothing of it is left.",
            "load": {"baseline_rate": "4/s", "journeys": {"ask": 1}},
            "faults": faults,
            "phases": [
                {"name": "baseline", "for": "1s"},
                {"name": "fault", "for": "300s", "faults": list(faults)},
            ],
        }
    )


@dataclass(frozen=True, slots=True)
class Run:
    """A run under way in a process of its own, and the fault proxy that it borrowed."""

    process: subprocess.Popen[bytes]
    runs: Path
    api: str

    @property
    def bundle(self) -> Path:
        return (self.runs / "latest").resolve()

    def journal(self) -> list[dict[str, Any]]:
        return read(self.runs / "latest" / "journal.jsonl")

    def count(self, event: str) -> int:
        return sum(entry["event"] == event for entry in self.journal())

    def wait_until(self, seen: Callable[[], bool], what: str) -> None:
        until_s = time.monotonic() + READY_WITHIN_S
        while not seen():
            said = (self.runs / "said").read_text()
            assert self.process.poll() is None, said
            assert time.monotonic() < until_s, f"{what} never came: {said}"
            time.sleep(0.02)

    def identity(self, part: str) -> ProcessIdentity:
        record = json.loads((self.bundle / "stack.json").read_text())["parts"][part]
        return ProcessIdentity(record["pid"], record["created_s"])

    def hogs(self) -> list[ProcessIdentity]:
        undos = [entry["undo"] for entry in self.journal() if entry["event"] == "undo.declared"]
        named = [one for undo in undos if undo["do"] == "end" for one in undo["processes"]]
        return [ProcessIdentity(one["pid"], one["created_s"]) for one in named]

    def left(self) -> list[str]:
        """Whatever is still there of the run, in words."""
        processes = [
            f"{one.pid} {' '.join(one.cmdline()[:4])}" for one in marked(str(self.bundle / "stack.json"))
        ]
        hogs = [f"hog {one.pid}" for one in self.hogs() if one.alive]
        faults = [f"fault {one.fault}" for one in outstanding_undos(self.journal())]
        proxies = [f"proxy {name}: {state.toxics}" for name, state in Toxiproxy(self.api).proxies().items()]
        return processes + hogs + faults + proxies

    def left_after(self, seconds: float) -> list[str]:
        until_s = time.monotonic() + seconds
        while (left := self.left()) and time.monotonic() < until_s:
            time.sleep(0.05)
        return left


@pytest.fixture(params=["toxiproxy", "builtin"])
def api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fault proxy that somebody else runs, as one at TOXIPROXY_URL."""
    choice = choose_proxy({"RAGQUAKE_PROXY": request.param}, ROOT / ".ragquake")
    port = reserve_port()
    url = f"http://127.0.0.1:{port}"
    environment = child_environment(os.environ, str(tmp_path / "elsewhere.json"))
    plan = PartPlan("proxy", choice.command_on("127.0.0.1", port), environment, url, f"{url}/version")
    server = Part.start(plan, tmp_path)
    try:
        wait_ready([server], SystemClock())
        yield url
    finally:
        server.stop()


@pytest.fixture
def run(tmp_path: Path, api: str, stand_ins: Path) -> Iterator[Run]:
    (tmp_path / "everything.yaml").write_text(experiment(every_fault()))
    state, runs = tmp_path / "state", tmp_path / "runs"
    for folder in (state, runs):
        folder.mkdir()
    for shared in ("index", "bin"):
        if (ROOT / ".ragquake" / shared).exists():
            (state / shared).symlink_to(ROOT / ".ragquake" / shared)
    path = os.pathsep.join(filter(None, (str(stand_ins), os.environ.get("PYTHONPATH"))))
    command = [RAGQUAKE, "run", tmp_path / "everything.yaml", "--runs", runs, "--state", state]
    with (runs / "said").open("wb") as said:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path, "TOXIPROXY_URL": api},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    one = Run(process, runs, api)
    yield one
    if process.poll() is None:
        process.kill()
        process.wait()
    if (runs / "latest").exists():
        for left in marked(str(one.bundle / "stack.json")):
            left.kill()


def kill(*identities: ProcessIdentity) -> None:
    for one in identities:
        os.kill(one.pid, signal.SIGKILL)


@pytest.mark.parametrize("attempt", range(KILLS))
def test_nothing_is_left_of_a_runner_that_was_killed_with_every_fault_in(run: Run, attempt: int) -> None:
    """Toxics, a stopped process, hogs, limits, a killed part and the whole stack: gone within 10 s."""
    faults = every_fault()
    run.wait_until(lambda: run.count("fault.verified") == len(faults), "the last fault")
    assert {toxic.name for state in Toxiproxy(run.api).proxies().values() for toxic in state.toxics}
    assert signals.frozen([run.identity("llm")]) and not run.identity("vector_db").alive
    assert run.hogs() and all(one.alive for one in run.hogs())

    run.process.kill()
    killed_s = time.monotonic()
    run.process.wait()

    assert run.left_after(WITHIN_S) == []
    print(f"kill {attempt + 1}: nothing left after {time.monotonic() - killed_s:.1f} s")
    last = run.journal()[-1]
    assert (last["event"], last["by"]) == ("rollback.finished", "warden")


@pytest.mark.parametrize("attempt", range(KILLS))
def test_nothing_is_left_of_a_runner_that_was_killed_while_faults_went_in(run: Run, attempt: int) -> None:
    """Also in the instant between an undo that is written down and the fault that it is for."""
    draw = random.Random(attempt)
    undos, later_s = draw.randint(1, len(every_fault())), draw.uniform(0.0, 0.05)
    run.wait_until(lambda: run.count("undo.declared") >= undos, f"undo {undos}")
    time.sleep(later_s)

    run.process.kill()
    run.process.wait()

    assert run.left_after(WITHIN_S) == []


def test_when_runner_and_warden_are_killed_a_rollback_takes_everything_away(run: Run) -> None:
    """Hogs end by themselves; the rest waits for `ragquake rollback`, which can be run twice."""
    run.wait_until(lambda: run.count("fault.verified") == len(every_fault()), "the last fault")
    llm = run.identity("llm")
    kill(run.identity("warden"))
    run.process.kill()
    run.process.wait()
    until_s = time.monotonic() + WITHIN_S
    while any(one.alive for one in run.hogs()) and time.monotonic() < until_s:
        time.sleep(0.05)

    assert not any(one.alive for one in run.hogs())
    assert signals.frozen([llm])
    assert any(state.toxics for state in Toxiproxy(run.api).proxies().values())
    command = [RAGQUAKE, "rollback", run.bundle]
    first = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert first.returncode == ExitCode.PASSED, first.stdout + first.stderr
    assert run.left() == []
    before = (run.bundle / "journal.jsonl").read_bytes()
    second = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert second.returncode == ExitCode.PASSED, second.stdout + second.stderr
    assert (run.bundle / "journal.jsonl").read_bytes() == before
