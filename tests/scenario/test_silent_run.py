"""Runner and warden fall silent together, or the runner stands still: who takes what out, and what stays.

On the built-in proxy the run's lease ends by itself, and with it every fault on bytes and on requests.
Toxiproxy knows no lease, so there the warden is all there is: the negative control. What neither holds (a
part that stands still, a limit of open files, the parts themselves) waits for `ragquake rollback`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.exit_codes import ExitCode
from chaos.processes import signals
from chaos.run.journal import read
from chaos.safety.lease import RENEW_EVERY_S, TTL_S
from chaos.safety.warden import SUSPENDED_FOR_S
from tests.scenario.whole_run import RAGQUAKE, WholeRun, every_fault, experiment, whole_run

pytestmark = pytest.mark.slow
SLACK_S = 8.0
"""For a busy machine."""


@pytest.fixture(params=["builtin", "toxiproxy"])
def run(request: pytest.FixtureRequest, tmp_path: Path, stand_ins: Path) -> Iterator[WholeRun]:
    """With every fault in, on a proxy of its own."""
    faults = every_fault()
    environment = {"RAGQUAKE_PROXY": request.param}
    with whole_run(tmp_path, stand_ins, experiment(faults), environment) as one:
        one.wait_until(lambda: one.count("fault.verified") == len(faults), "the last fault")
        yield one


def has_lease(run: WholeRun) -> bool:
    """Whether the fault proxy is one that knows leases."""
    proxy = run.stack.proxy
    assert proxy is not None
    return proxy.kind == "builtin"


def send(number: signal.Signals, run: WholeRun, *, also_the_warden: bool) -> None:
    """The warden first: it would act on what becomes of the runner."""
    if also_the_warden:
        os.kill(run.identity("warden").pid, number)
    run.process.send_signal(number)


def require_only_the_lease_acted(run: WholeRun) -> None:
    """Bytes and requests are themselves again where a lease held them, and nowhere else."""
    everything = run.on_the_proxies()
    assert {one.split()[0] for one in everything} == {"toxic", "fault", "vector_db"}
    until_s = time.monotonic() + TTL_S + SLACK_S
    kept = [] if has_lease(run) else [one for one in everything if not one.startswith("fault")]
    while run.on_the_proxies() != kept and time.monotonic() < until_s:
        time.sleep(0.1)
    assert run.on_the_proxies() == kept
    assert run.count("rollback.started") == 0


def test_when_runner_and_warden_are_killed_the_lease_undoes_what_it_holds(run: WholeRun) -> None:
    """Bytes and requests go by themselves, hogs too; the rest is there until somebody rolls back."""
    llm = run.identity("llm")
    send(signal.SIGKILL, run, also_the_warden=True)
    run.process.wait()

    require_only_the_lease_acted(run)
    assert not any(one.alive for one in run.hogs())
    assert signals.frozen([llm]) and run.identity("service").alive
    said = subprocess.run([RAGQUAKE, "rollback", run.bundle], capture_output=True, text=True, timeout=60)
    assert said.returncode == ExitCode.PASSED, said.stdout + said.stderr
    assert run.left() == []


def test_a_run_that_was_suspended_with_its_warden_ends_when_it_wakes(run: WholeRun) -> None:
    """The lease undoes what it holds meanwhile; awake, the run says what happened and leaves nothing."""
    send(signal.SIGSTOP, run, also_the_warden=True)
    until_s = time.monotonic() + TTL_S + RENEW_EVERY_S + 1.0
    require_only_the_lease_acted(run)
    time.sleep(max(0.0, until_s - time.monotonic()))
    send(signal.SIGCONT, run, also_the_warden=True)

    assert run.process.wait(60) == ExitCode.ENVIRONMENT, run.said
    assert run.left() == []
    assert "suspended" in run.said and "Traceback" not in run.said
    last = read(run.bundle / "journal.jsonl")[-1]
    assert (last["event"], last["status"]) == ("run.finished", "error")


def test_a_run_that_was_suspended_alone_is_taken_away_by_its_warden(run: WholeRun) -> None:
    """With faults, stack and all; awake, the run says why it ended instead of what it missed."""
    send(signal.SIGSTOP, run, also_the_warden=False)
    gone = run.left_after(SUSPENDED_FOR_S + SLACK_S)
    runner = f"{run.process.pid} "
    assert [one for one in gone if not one.startswith(runner)] == []
    send(signal.SIGCONT, run, also_the_warden=False)

    assert run.process.wait(60) == ExitCode.ENVIRONMENT, run.said
    assert run.left() == []
    assert "stood still for more than 10 s" in run.said and "Traceback" not in run.said
