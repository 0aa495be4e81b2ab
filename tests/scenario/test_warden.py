"""The warden and the rollback after it: a runner that is killed leaves no process and no toxic.

The runner here is a stand-in that starts a real fault proxy and a stubborn process in a bundle, puts a
toxic in, and is then killed with SIGKILL; the machinery that cleans up after it is the real one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaos.clock import SystemClock
from chaos.control.toxiproxy import Toxiproxy
from chaos.run.journal import outstanding_undos, read
from chaos.safety.rollback import rollback
from chaos.stack.description import read_description
from chaos.stack.environment import child_environment
from chaos.stack.part import Part, PartPlan, wait_ready
from chaos.stack.ports import reserve_port
from chaos.stack.process import ProcessIdentity, marked
from chaos.stack.proxy_choice import choose_proxy

pytestmark = pytest.mark.slow
WITHIN_S = 10.0
BUILTIN = choose_proxy({"RAGQUAKE_PROXY": "builtin"}, Path("nowhere"))
RUNNER = textwrap.dedent(
    """
    import subprocess, sys, time
    from pathlib import Path
    from chaos.control.fault_proxy import Toxic
    from chaos.run.journal import Journal
    from chaos.stack.local import LocalStack
    from chaos.stack.proxy_choice import ProxyChoice
    from chaos.stack.process import ProcessIdentity
    from chaos.control.toxiproxy import Toxiproxy
    from chaos.safety.warden import start_warden

    bundle, api, phase = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    warden = start_warden(bundle)
    stack = LocalStack(folder=bundle, index_dir=bundle, proxy=ProxyChoice("toxiproxy", "a test", api=api))
    stack.adopt("runner", ProcessIdentity.of_this_process())
    stack.adopt("warden", warden.identity, warden.log)
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    part = subprocess.Popen(
        [sys.executable, "-c", stubborn], env=stack.child_environment(), start_new_session=True
    )
    if phase != "unrecorded":
        stack.adopt("service", part)
    journal = Journal(bundle / "journal.jsonl")
    undo = {"do": "remove_toxic", "api": api, "proxy": "vector_db", "toxic": "slow"}
    if phase != "unrecorded":
        journal.append("undo.declared", fault="slow", undo=undo)
    if phase == "fault":
        Toxiproxy(api).add_toxic("vector_db", Toxic("slow", "latency", attributes={"latency": 2000}))
        journal.append("fault.injected", fault="slow", on="vector_db", kind="latency", parameters={})
    if phase == "done":
        part.kill()
        warden.done()
    print(part.pid, warden.identity.pid, flush=True)
    if phase != "done":
        time.sleep(600)
    """
)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A fault proxy that outlives the runner, as one at TOXIPROXY_URL does."""
    folder = tmp_path_factory.mktemp("proxy")
    port = reserve_port()
    command = BUILTIN.command_on("127.0.0.1", port)
    environment = child_environment(os.environ, str(folder / "stack.json"))
    url = f"http://127.0.0.1:{port}"
    server = Part.start(PartPlan("proxy", command, environment, url, f"{url}/version"), folder)
    try:
        wait_ready([server], SystemClock())
        Toxiproxy(url).create_proxy("vector_db", "127.0.0.1:0", "127.0.0.1:9")
        yield url
    finally:
        server.stop()


@dataclass(frozen=True, slots=True)
class StandIn:
    """A stand-in runner that has got as far as its phase."""

    bundle: Path
    process: subprocess.Popen[str]
    part: ProcessIdentity
    warden: ProcessIdentity


@pytest.fixture
def start(tmp_path: Path, api: str) -> Iterator[Callable[[str], StandIn]]:
    started: list[StandIn] = []

    def begin(phase: str) -> StandIn:
        command = [sys.executable, "-c", RUNNER, str(tmp_path), api, phase]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        part, warden = (ProcessIdentity(pid, _created_s(pid)) for pid in pids)
        started.append(StandIn(tmp_path, process, part, warden))
        return started[-1]

    yield begin
    for one in started:
        one.process.kill()
        one.process.wait()
        assert one.process.stdout is not None
        one.process.stdout.close()
        for identity in (one.part, one.warden):
            if found := identity.process():
                found.kill()


def _created_s(pid: int) -> float:
    try:
        return ProcessIdentity.of(pid).created_s
    except Exception:
        return 0.0


def _kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def _within(condition: Callable[[], bool], seconds: float = WITHIN_S) -> bool:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


@pytest.mark.parametrize("phase", ["declared", "fault"])
def test_a_killed_runner_leaves_no_process_and_no_toxic(
    start: Callable[[str], StandIn], api: str, phase: str
) -> None:
    """kill -9 before or after the fault went in: the warden undoes it, stops the stack and goes."""
    runner = start(phase)
    assert len(Toxiproxy(api).toxics("vector_db")) == (1 if phase == "fault" else 0)
    _kill(runner.process.pid)
    assert _within(lambda: not runner.part.alive and not runner.warden.alive)
    assert Toxiproxy(api).toxics("vector_db") == {}
    entries = read(runner.bundle / "journal.jsonl")
    assert outstanding_undos(entries) == []
    assert entries[-1]["event"] == "rollback.finished"
    assert (entries[-1]["by"], entries[-1]["undone"]) == ("warden", ["slow"])


def test_a_process_that_no_record_names_is_found_by_its_mark(start: Callable[[str], StandIn]) -> None:
    """A runner that is killed between starting a part and writing it down leaves nothing either."""
    runner = start("unrecorded")
    described = read_description(runner.bundle / "stack.json")
    assert described is not None and "service" not in described.parts
    _kill(runner.process.pid)
    assert _within(lambda: not runner.part.alive and not runner.warden.alive)


def test_a_dismissed_warden_touches_nothing(start: Callable[[str], StandIn]) -> None:
    """A runner that says done cleans up itself: the warden goes and the journal has no rollback."""
    runner = start("done")
    assert not runner.warden.alive
    assert runner.process.wait(WITHIN_S) == 0
    assert [entry["event"] for entry in read(runner.bundle / "journal.jsonl")] == ["undo.declared"]


def test_the_warden_survives_ctrl_c(start: Callable[[str], StandIn]) -> None:
    """SIGINT and SIGHUP go to everybody at a terminal; the warden stays at its post."""
    runner = start("declared")
    os.kill(runner.warden.pid, signal.SIGINT)
    os.kill(runner.warden.pid, signal.SIGHUP)
    _kill(runner.process.pid)
    assert _within(lambda: not runner.part.alive and not runner.warden.alive)
    assert read(runner.bundle / "journal.jsonl")[-1]["event"] == "rollback.finished"


def test_when_runner_and_warden_are_killed_a_rollback_cleans_up(
    start: Callable[[str], StandIn], api: str
) -> None:
    """With nobody left, the toxic and the process stay, until `ragquake rollback` takes both away."""
    runner = start("fault")
    _kill(runner.warden.pid, runner.process.pid)
    runner.process.wait()
    assert runner.part.alive and Toxiproxy(api).toxics("vector_db")
    report = rollback(runner.bundle)
    assert report.clean and report.stopped == ("service",)
    assert not runner.part.alive and Toxiproxy(api).toxics("vector_db") == {}
    assert marked(str(runner.bundle / "stack.json")) == []
    assert rollback(runner.bundle).nothing_to_do
