"""Whole runs that go wrong: each ends with a message, the right exit code, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from chaos.exit_codes import ExitCode
from chaos.run.journal import outstanding_undos, read
from chaos.stack.process import marked

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
RAGQUAKE = Path(sys.executable).with_name("ragquake")
EXPERIMENT = """\
apiVersion: ragquake/v1
kind: Experiment
name: tiny
title: A tiny run that will be disturbed
owner: tests
hypothesis: It ends cleanly whatever happens.
load:
  baseline_rate: 2/s
  journeys: {ask: 1}
faults:
  slow-vector-db: {on: vector_db, kind: latency, latency: 1s}
phases:
  - {name: baseline, for: 3s}
  - {name: fault, for: 60s, faults: [slow-vector-db]}
"""


@dataclass(frozen=True, slots=True)
class Disturbed:
    """A run under way in a process of its own."""

    process: subprocess.Popen[str]
    runs: Path

    @property
    def bundle(self) -> Path:
        return (self.runs / "latest").resolve()

    def wait_for(self, event: str, timeout_s: float = 90.0) -> None:
        """Wait until the journal tells of an event."""
        self.wait_until(lambda: any(one["event"] == event for one in self.journal()), event, timeout_s)

    def wait_until(self, seen: Callable[[], bool], what: str, timeout_s: float = 90.0) -> None:
        end_s = time.monotonic() + timeout_s
        while not seen():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end_s, f"{what} never came"
            time.sleep(0.1)

    def journal(self) -> list[dict[str, object]]:
        return read(self.runs / "latest" / "journal.jsonl")

    def pid_of(self, part: str) -> int:
        parts = json.loads((self.bundle / "stack.json").read_text())["parts"]
        return int(parts[part]["pid"])

    def end(self) -> tuple[int, str]:
        """The exit code and everything that was said."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out + err

    def left_running(self) -> list[psutil.Process]:
        return marked(str(self.bundle / "stack.json"))


@pytest.fixture
def disturbed(tmp_path: Path) -> Iterator[Disturbed]:
    (tmp_path / "tiny.yaml").write_text(EXPERIMENT)
    state = tmp_path / "state"
    state.mkdir()
    for shared in ("index", "bin"):
        if (ROOT / ".ragquake" / shared).exists():
            (state / shared).symlink_to(ROOT / ".ragquake" / shared)
    runs = tmp_path / "runs"
    command = [RAGQUAKE, "run", tmp_path / "tiny.yaml", "--runs", runs, "--state", state]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    yield Disturbed(process, runs)
    if process.poll() is None:
        process.kill()
        process.wait()


def test_a_part_that_dies_in_the_middle_ends_the_run_as_an_error(disturbed: Disturbed) -> None:
    """The message names the part; the fault is out, no process is left, and the bundle still evaluates."""
    disturbed.wait_for("fault.verified")
    os.kill(disturbed.pid_of("service"), signal.SIGKILL)
    code, said = disturbed.end()

    assert code == ExitCode.ENVIRONMENT
    assert "service" in said
    assert "Traceback" not in said
    assert disturbed.left_running() == []
    assert outstanding_undos(disturbed.journal()) == []
    again = subprocess.run([RAGQUAKE, "evaluate", disturbed.bundle], capture_output=True, text=True)
    assert again.returncode == ExitCode.ENVIRONMENT, again.stderr


def test_ctrl_c_while_the_stack_starts_ends_at_once(disturbed: Disturbed) -> None:
    """Nobody waits for a service to get ready in order to be allowed to stop."""
    disturbed.wait_until(lambda: (disturbed.runs / "latest" / "stack.json").exists(), "stack.json")
    disturbed.process.send_signal(signal.SIGINT)
    code, said = disturbed.end()

    assert code == ExitCode.INTERRUPTED
    assert "Traceback" not in said
    assert disturbed.left_running() == []


def test_ctrl_c_twice_in_the_fault_phase_still_rolls_back(disturbed: Disturbed) -> None:
    """An impatient second Ctrl-C cannot leave a fault in."""
    disturbed.wait_for("fault.verified")
    disturbed.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    disturbed.process.send_signal(signal.SIGINT)
    code, said = disturbed.end()

    assert code == ExitCode.INTERRUPTED
    assert "Traceback" not in said
    assert disturbed.left_running() == []
    assert outstanding_undos(disturbed.journal()) == []


def test_a_killed_runner_leaves_a_bundle_that_proves_nothing(disturbed: Disturbed) -> None:
    """kill -9 in the fault phase: the warden undoes the fault, and the verdict is inconclusive."""
    disturbed.wait_for("fault.verified")
    disturbed.process.kill()
    disturbed.process.wait()
    end_s = time.monotonic() + 15
    while (disturbed.left_running() or outstanding_undos(disturbed.journal())) and time.monotonic() < end_s:
        time.sleep(0.2)

    assert disturbed.left_running() == []
    assert outstanding_undos(disturbed.journal()) == []
    again = subprocess.run([RAGQUAKE, "rollback", disturbed.bundle], capture_output=True, text=True)
    assert again.returncode == ExitCode.PASSED, again.stderr
    judged = subprocess.run([RAGQUAKE, "evaluate", disturbed.bundle], capture_output=True, text=True)
    assert judged.returncode == ExitCode.INCONCLUSIVE, judged.stderr
