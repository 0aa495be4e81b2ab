"""A runner is killed with kill -9 while every kind of fault is in: within 10 s nothing of it is left.

Its fault proxy is somebody else's and lives on, so a toxic that was forgotten would still be there.
RAGQUAKE_KILLS says how often the runner is killed (1; by hand 50).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.clock import SystemClock
from chaos.exit_codes import ExitCode
from chaos.processes import signals
from chaos.stack.environment import child_environment
from chaos.stack.part import Part, PartPlan, wait_ready
from chaos.stack.ports import reserve_port
from chaos.stack.process import ProcessIdentity
from chaos.stack.proxy_choice import choose_proxy
from tests.scenario.whole_run import RAGQUAKE, ROOT, WholeRun, every_fault, experiment, whole_run

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("RAGQUAKE_KILLS", "1"))
WITHIN_S = 10.0


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
def run(tmp_path: Path, api: str, stand_ins: Path) -> Iterator[WholeRun]:
    with whole_run(tmp_path, stand_ins, experiment(every_fault()), {"TOXIPROXY_URL": api}, api) as one:
        yield one


def kill(*identities: ProcessIdentity) -> None:
    for one in identities:
        os.kill(one.pid, signal.SIGKILL)


@pytest.mark.parametrize("attempt", range(KILLS))
def test_nothing_is_left_of_a_runner_that_was_killed_with_every_fault_in(run: WholeRun, attempt: int) -> None:
    """Toxics, a stopped process, hogs, limits, a killed part and the whole stack: gone within 10 s."""
    faults = every_fault()
    run.wait_until(lambda: run.count("fault.verified") == len(faults), "the last fault")
    assert {one.split()[0] for one in run.on_the_proxies()} == {"toxic", "fault", "vector_db"}
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
def test_nothing_is_left_of_a_runner_that_was_killed_while_faults_went_in(
    run: WholeRun, attempt: int
) -> None:
    """Also in the instant between an undo that is written down and the fault that it is for."""
    draw = random.Random(attempt)
    undos, later_s = draw.randint(1, len(every_fault())), draw.uniform(0.0, 0.05)
    run.wait_until(lambda: run.count("undo.declared") >= undos, f"undo {undos}")
    time.sleep(later_s)

    run.process.kill()
    run.process.wait()

    assert run.left_after(WITHIN_S) == []


def test_when_runner_and_warden_are_killed_a_rollback_takes_everything_away(run: WholeRun) -> None:
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
    assert run.on_the_proxies()
    command = [RAGQUAKE, "rollback", run.bundle]
    first = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert first.returncode == ExitCode.PASSED, first.stdout + first.stderr
    assert run.left() == []
    before = (run.bundle / "journal.jsonl").read_bytes()
    second = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert second.returncode == ExitCode.PASSED, second.stdout + second.stderr
    assert (run.bundle / "journal.jsonl").read_bytes() == before
