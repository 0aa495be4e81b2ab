"""Each fault on processes: what its client sees, what the record says, and its undoing under traffic."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from chaos.clock import SystemClock
from chaos.errors import EnvironmentFailure
from chaos.faults import parse_fault
from chaos.processes import ProcessFaultError, files, signals
from chaos.processes.hogs import PROGRAM
from chaos.processes.memory import MIB, available_bytes
from chaos.run.journal import outstanding_undos, read
from chaos.safety.undo import perform
from chaos.stack.description import read_description
from chaos.stack.errors import PartDied
from chaos.stack.process import ProcessIdentity

from .conftest import Lab

pytestmark = pytest.mark.slow

Started = Callable[[str], subprocess.Popen[bytes]]
SLEEPS = "import time; print(flush=True); time.sleep(600)"


@pytest.fixture
def started() -> Iterator[Started]:
    """Processes that are nobody's part; each has begun when it is handed over."""
    running: list[subprocess.Popen[bytes]] = []

    def start(code: str = SLEEPS) -> subprocess.Popen[bytes]:
        running.append(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE))
        assert running[-1].stdout is not None
        running[-1].stdout.readline()
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def stretch(lab: Lab, seconds: float) -> list[str]:
    """What the traffic met in a stretch that begins now."""
    began_s = time.monotonic()
    time.sleep(seconds)
    return lab.traffic.outcomes(began_s, time.monotonic())


def test_a_paused_part_takes_connections_and_answers_when_it_goes_on(lab: Lab) -> None:
    """Nobody is refused; who waits long enough is answered once the fault is out."""
    control = lab.control(kind="pause")
    control.inject("mine")
    assert set(stretch(lab, 1.0)) == {"ReadTimeout"}
    lab.stack.require_alive()
    with ThreadPoolExecutor(1) as other, httpx.Client(timeout=10.0, trust_env=False) as patient:
        answer = other.submit(patient.get, f"{lab.stack.url}/health")
        time.sleep(0.5)
        assert not answer.done()
        began_s = time.monotonic()
        control.remove("mine")
        assert answer.result().status_code == 200
    lab.traffic.wait_for("ok", began_s)
    assert lab.fact("fault.verified", "read_back")["state"] == "stopped"
    assert lab.fact("fault.removed", "observed")["bit"] is True
    assert outstanding_undos(read(lab.folder / "journal.jsonl")) == []


def test_a_pause_that_somebody_else_ended_did_not_last(lab: Lab) -> None:
    """The journal does not claim a bite that was over before the fault came out."""
    control = lab.control(kind="pause")
    control.inject("mine")
    os.kill(lab.at.processes.of("llm").pid, signal.SIGCONT)
    control.remove("mine")
    assert lab.fact("fault.removed", "observed")["bit"] is False


def test_a_killed_part_refuses_and_comes_back_as_it_was(lab: Lab) -> None:
    """Same command, port, priority and mark; another pid, which stack.json knows; the run goes on."""
    before = lab.at.processes.of("llm")
    record = lab.stack.description.parts["llm"]
    control = lab.control(kind="kill")
    control.inject("mine")
    assert set(stretch(lab, 0.5)) == {"ConnectError"}
    lab.stack.require_alive()
    control.remove("mine")

    after = lab.at.processes.of("llm")
    lab.traffic.wait_for("ok", time.monotonic())
    assert after.pid != before.pid and not before.alive
    written = read_description(lab.stack.stack_file)
    assert written is not None and written.parts["llm"].identity == after
    assert written.parts["llm"].command == record.command and written.parts["llm"].url == record.url
    assert psutil.Process(after.pid).nice() == 10
    assert psutil.Process(after.pid).environ()["RAGQUAKE_STACK"] == str(lab.stack.stack_file)
    away_s = lab.fact("fault.removed", "observed")["away_s"]
    assert isinstance(away_s, float) and away_s >= 0.5


def test_a_part_that_dies_after_it_came_back_ends_the_run_again(lab: Lab) -> None:
    """The excuse ends with the fault: a crash is not mistaken for the one that was asked for."""
    control = lab.control(kind="kill")
    control.inject("mine")
    control.remove("mine")
    try:
        os.kill(lab.at.processes.of("llm").pid, signal.SIGKILL)
        time.sleep(0.1)
        with pytest.raises(PartDied, match="llm"):
            lab.stack.require_alive()
    finally:
        lab.stack.start_again("llm")
        lab.stack.wait_again("llm")


def test_a_restarted_part_was_away_for_as_long_as_its_client_saw(lab: Lab) -> None:
    """The journal's figure covers the stretch in which no request was answered, and another pid answers."""
    control = lab.control(kind="restart", grace="1s")
    began_s = time.monotonic()
    control.inject("mine")
    lab.traffic.wait_for("ok", time.monotonic())
    control.remove("mine")

    observed = lab.fact("fault.removed", "observed")
    assert observed["bit"] is True and observed["pid_after"] == lab.at.processes.of("llm").pid
    failed = [one for one in lab.traffic.asked if one.at_s >= began_s and one.outcome != "ok"]
    assert failed, "nobody noticed the restart"
    away_s = observed["away_s"]
    assert isinstance(away_s, float) and failed[-1].end_s - failed[0].at_s <= away_s + 0.35


def test_a_hog_takes_the_core_that_a_part_computes_on(lab: Lab) -> None:
    """On one core, a hog of the part's priority gets a fair half of what the two of them have."""
    part = lab.at.processes.of("llm")
    core = {min(os.sched_getaffinity(0))}
    everywhere = os.sched_getaffinity(0)
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
    try:
        os.setpriority(os.PRIO_PROCESS, burner.pid, 10)
        os.sched_setaffinity(burner.pid, core)
        os.sched_setaffinity(0, core)
        control = lab.control(kind="cpu_hog", workers=1)
        control.inject("mine")
        [hog] = lab.at.processes.hogs.identities("mine")
        assert psutil.Process(hog.pid).nice() == psutil.Process(part.pid).nice() == 10
        before = [psutil.Process(pid).cpu_times().user for pid in (burner.pid, hog.pid)]
        time.sleep(1.5)
        after = [psutil.Process(pid).cpu_times().user for pid in (burner.pid, hog.pid)]
        control.remove("mine")
    finally:
        os.sched_setaffinity(0, everywhere)
        burner.kill()
        burner.wait()
    victims, hogs = (later - earlier for later, earlier in zip(after, before, strict=True))
    assert 0.35 < hogs / (victims + hogs) < 0.65
    assert not hog.alive and "hog mine 1" not in lab.stack.description.parts


def test_a_share_is_kept(lab: Lab) -> None:
    """A worker of 20 % uses no more than that of its core, and the journal says what it used."""
    control = lab.control(kind="cpu_hog", workers=2, share="20%")
    control.inject("mine")
    time.sleep(2.0)
    control.remove("mine")
    observed = lab.fact("fault.removed", "observed")
    cores = observed["cores"]
    assert isinstance(cores, float) and 0.05 < cores < 0.55 and observed["bit"] is True


def test_memory_is_held_until_the_fault_ends(lab: Lab) -> None:
    """The kernel shows it as resident, and the part goes on serving."""
    control = lab.control(kind="memory_pressure", mib=400)
    control.inject("mine")
    [hog] = lab.at.processes.hogs.states("mine")
    assert hog.rss_bytes >= 400 * MIB
    assert "ok" in stretch(lab, 0.5)
    control.remove("mine")
    assert not hog.process.alive
    assert lab.fact("fault.removed", "observed")["bit"] is True


def test_a_part_without_descriptors_keeps_old_connections_and_takes_no_new_ones(lab: Lab) -> None:
    """What is open works on, whatever needs a socket fails, and afterwards all is as before."""
    part = lab.at.processes.of("llm")
    own = files.limits(part)
    with httpx.Client(timeout=2.0, trust_env=False, base_url=lab.stack.url) as old:
        assert old.get("/health").status_code == 200
        control = lab.control(kind="file_descriptors", leave=0)
        control.inject("mine")
        met = stretch(lab, 1.0)
        assert met and "ok" not in met
        assert old.get("/health").status_code == 200
        control.remove("mine")
    lab.traffic.wait_for("ok", time.monotonic())
    assert files.limits(part) == own
    assert lab.fact("fault.removed", "observed")["bit"] is True


UNDONE_BY_RECORD = [
    {"kind": "pause"},
    {"kind": "cpu_hog", "workers": 2, "share": "10%"},
    {"kind": "memory_pressure", "mib": 1},
    {"kind": "file_descriptors", "leave": 3},
]


@pytest.mark.parametrize("raw", UNDONE_BY_RECORD, ids=lambda raw: raw["kind"])
def test_a_record_alone_undoes_a_fault_under_traffic_and_twice_is_fine(
    lab: Lab, raw: dict[str, object]
) -> None:
    """Whoever finds the record needs neither the class nor the runner."""
    control = lab.control(**raw)
    control.inject("mine")
    fault = parse_fault("mine", {"on": "llm", **raw})
    assert not fault.is_gone(lab.at, "mine")
    [outstanding] = outstanding_undos(read(lab.folder / "journal.jsonl"))
    first, second = perform(outstanding.undo), perform(outstanding.undo)
    assert fault.is_gone(lab.at, "mine")
    assert first != second and any(word in second for word in ("already", "nobody"))
    lab.traffic.wait_for("ok", time.monotonic())
    control.remove("mine")


@pytest.mark.parametrize("do", ["resume", "end", "limit_files"])
def test_a_pid_that_belongs_to_another_process_by_now_is_left_alone(started: Started, do: str) -> None:
    """The pid fits, the creation time does not: nothing is touched, and the answer says so."""
    process = started(SLEEPS)
    stranger = ProcessIdentity.of(process.pid)
    os.kill(process.pid, signal.SIGSTOP)
    while not stranger.suspended:
        time.sleep(0.01)
    before = files.limits(stranger)
    record = {"pid": stranger.pid, "created_s": stranger.created_s - 100.0, "soft": 16, "hard": 16}
    said = perform({"do": do, "processes": [record]})
    assert "another process by now" in said
    assert stranger.alive and stranger.suspended and files.limits(stranger) == before


@pytest.mark.parametrize(
    "raw",
    [*UNDONE_BY_RECORD, {"kind": "kill"}, {"kind": "restart"}],
    ids=lambda raw: raw["kind"],
)
def test_no_fault_touches_a_part_whose_pid_came_round_again(
    lab: Lab, started: Started, monkeypatch: pytest.MonkeyPatch, raw: dict[str, object]
) -> None:
    """stack.json names a pid that is somebody else's by now: refused before anything is written or done."""
    process = started(SLEEPS)
    stranger = ProcessIdentity.of(process.pid)
    record = lab.stack.description.parts["llm"].model_copy(
        update={"pid": stranger.pid, "created_s": stranger.created_s - 100.0}
    )
    monkeypatch.setitem(lab.stack.description.parts, "llm", record)
    with pytest.raises(EnvironmentFailure, match="does not run any more"):
        lab.control(**raw).inject("mine")
    assert stranger.alive and not stranger.suspended
    assert read(lab.folder / "journal.jsonl") == []


def test_more_memory_than_is_free_is_refused_with_what_could_be_had(lab: Lab) -> None:
    """The machine is not brought to swap; nothing was started."""
    with pytest.raises(EnvironmentFailure, match=r"must stay free; ask for at most \d+ MiB"):
        lab.control(kind="memory_pressure", mib=available_bytes() // MIB).inject("mine")
    assert lab.at.processes.hogs.identities("mine") == ()


def test_a_limit_above_what_is_left_is_refused(lab: Lab) -> None:
    """A fault that takes nothing away would prove nothing."""
    with pytest.raises(EnvironmentFailure, match="takes nothing away; ask for less"):
        lab.control(kind="file_descriptors", leave=1_000_000).inject("mine")


def test_children_stand_still_with_their_parent_and_go_on_with_it(started: Started) -> None:
    """A part may be more than one process; those that it starts meanwhile are caught, too."""
    forks = (
        "import os, time\n"
        "while True:\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(0.5); os._exit(0)\n"
        "    print(flush=True); time.sleep(0.005)\n"
        "    try:\n"
        "        while os.waitpid(-1, os.WNOHANG)[0]: pass\n"
        "    except ChildProcessError: pass\n"
    )
    identity = ProcessIdentity.of(started(forks).pid)
    time.sleep(0.2)
    everyone = signals.freeze(identity, SystemClock())
    assert len(everyone) > 3 and signals.frozen(signals.members(identity)) == signals.members(identity)
    assert signals.thaw([identity]) == len(everyone)
    assert not any(one.suspended for one in signals.members(identity))


def test_a_hog_ends_with_whoever_started_it() -> None:
    """The kernel closes its standard input however the runner dies; nobody has to look for it."""
    code = (
        "import subprocess, sys\n"
        f"hogs = [subprocess.Popen([sys.executable, '-I', '-S', {str(PROGRAM)!r}, *order],"
        " stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)"
        " for order in (('cpu', '1.0'), ('cpu', '0.01'), ('memory', '20', '0'))]\n"
        "for hog in hogs: hog.stdout.readline(); hog.stdin.write(b'go\\n')\n"
        "hogs[2].stdout.readline()\n"
        "print(*(hog.pid for hog in hogs), flush=True); sys.stdin.read()\n"
    )
    runner = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert runner.stdout is not None and runner.stdin is not None
    hogs = [ProcessIdentity.of(int(pid)) for pid in runner.stdout.readline().split()]
    assert len(hogs) == 3 and all(hog.alive for hog in hogs)
    runner.kill()
    runner.wait()
    until_s = time.monotonic() + 5.0
    while any(hog.alive for hog in hogs) and time.monotonic() < until_s:
        time.sleep(0.05)
    assert not any(hog.alive for hog in hogs)
    runner.stdin.close()
    runner.stdout.close()


def test_a_hog_that_is_never_set_off_takes_nothing(lab: Lab) -> None:
    """Between its start and the line in the journal, nobody feels it."""
    lab.at.processes.hogs.hire("idle", [("cpu", "1.0"), ("memory", "500", "0")], 10)
    time.sleep(0.5)
    states = lab.at.processes.hogs.states("idle")
    assert all(state.alive and state.cpu_s < 0.3 and state.rss_bytes < 50 * MIB for state in states)
    with pytest.raises(ProcessFaultError, match="there already"):
        lab.at.processes.hogs.hire("idle", [("cpu", "1.0")], 10)
    lab.at.processes.hogs.dismiss("idle")
    assert lab.at.processes.hogs.identities("idle") == ()


def test_a_model_server_of_somebody_else_is_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind `--llm URL` there is a process that ragquake did not start and leaves alone."""
    record = lab.stack.description.parts["llm"]
    elsewhere = record.model_copy(update={"pid": None, "created_s": None})
    monkeypatch.setitem(lab.stack.description.parts, "llm", elsewhere)
    with pytest.raises(EnvironmentFailure, match=r"was not started by ragquake.*without --llm URL"):
        lab.control(kind="pause").inject("mine")
