"""The stack on real processes: what dies at start, what will not die, and the whole of it once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from chaos.clock import SystemClock
from chaos.control.toxiproxy import Toxiproxy
from chaos.exit_codes import ExitCode
from chaos.stack.borrowed import BorrowedProxies
from chaos.stack.description import read_description
from chaos.stack.environment import child_environment
from chaos.stack.errors import PartDied, PartNotReady, PortBusy, ProxyUnavailable, StackBusy, StackError
from chaos.stack.local import LocalStack
from chaos.stack.model_servers import ModelServer, simulator
from chaos.stack.part import Part, PartPlan, wait_ready
from chaos.stack.ports import reserve_port
from chaos.stack.process import ProcessIdentity, marked
from chaos.stack.proxy_choice import ProxyChoice, choose_proxy
from chaos.stack.up import down, state, up
from tests.clocks import SteppingClock

pytestmark = pytest.mark.slow
HOME = Path(__file__).resolve().parents[2] / ".ragquake"
BUILTIN = choose_proxy({"RAGQUAKE_PROXY": "builtin"}, HOME)


def _plan(code: str, mark: Path, **more: object) -> PartPlan:
    command = (sys.executable, "-c", code)
    return PartPlan("tiny", command, child_environment(os.environ, str(mark)), **more)  # type: ignore[arg-type]


def _wait_for_line(part: Part) -> str:
    for _ in range(500):
        text = part.log.read_text()
        if text.endswith("\n"):
            return text.strip()
        time.sleep(0.01)
    raise AssertionError("the process said nothing")


def test_a_part_that_dies_at_start_fails_at_once_with_its_last_words(tmp_path: Path) -> None:
    """Waiting ends when the process ends, not when the patience does; the message carries the traceback."""
    plan = _plan("raise SystemExit('no such index')", tmp_path, ready_url="http://127.0.0.1:1/")
    part = Part.start(plan, tmp_path)
    with pytest.raises(PartDied, match="no such index") as died:
        wait_ready([part], SystemClock())
    assert died.value.exit_code == 1
    assert str(tmp_path / "tiny.log") in str(died.value)


def test_a_part_that_never_answers_is_told_from_a_dead_one(tmp_path: Path) -> None:
    """A process that runs but does not listen is reported with what its address said."""
    url = f"http://127.0.0.1:{reserve_port()}/"
    part = Part.start(
        _plan("import time; time.sleep(60)", tmp_path, ready_url=url, ready_timeout_s=0.3), tmp_path
    )
    with pytest.raises(PartNotReady, match="ConnectError"):
        wait_ready([part], SystemClock())
    part.stop(grace_s=2.0)
    assert not part.identity.alive


def test_a_part_that_takes_long_is_heard_of(tmp_path: Path) -> None:
    """Every quarter of a minute, until it is ready or out of time: slow is not taken for stuck."""
    url = f"http://127.0.0.1:{reserve_port()}/"
    plan = _plan("import time; time.sleep(60)", tmp_path, ready_url=url, ready_timeout_s=50.0)
    part = Part.start(plan, tmp_path)
    heard: list[int] = []
    try:
        with pytest.raises(PartNotReady):
            wait_ready(
                [part], SteppingClock(), on_waiting=lambda _part, waited_s: heard.append(round(waited_s))
            )
    finally:
        part.stop(grace_s=2.0)
    assert heard == [15, 30, 45]


def test_a_part_that_ignores_the_request_to_end_is_killed_with_its_children(tmp_path: Path) -> None:
    """After the grace nothing of a part is left, whatever it does with SIGTERM."""
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    code = (
        f"import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {stubborn!r}"
        f" + 'print(1, flush=True); time.sleep(60)'], stdout=subprocess.PIPE); child.stdout.readline();"
        f"{stubborn} print(child.pid, flush=True); time.sleep(60)"
    )
    part = Part.start(_plan(code, tmp_path), tmp_path)
    child = ProcessIdentity.of(int(_wait_for_line(part)))
    assert child.alive
    part.stop(grace_s=0.2)
    assert not part.identity.alive and not child.alive


def test_a_stranger_with_the_same_pid_is_not_signalled(tmp_path: Path) -> None:
    """A part whose recorded creation time does not fit its pid is left in peace."""
    part = Part.start(_plan("import time; print(1, flush=True); time.sleep(60)", tmp_path), tmp_path)
    _wait_for_line(part)
    real = part.identity
    part.identity = ProcessIdentity(real.pid, real.created_s - 60)
    part.stop(grace_s=0.2)
    assert real.alive
    part.identity = real
    part.stop(grace_s=2.0)
    assert not real.alive


def test_a_busy_named_port_ends_the_start_before_anything_runs(tmp_path: Path) -> None:
    """The refusal comes first, so nothing has to be stopped."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        port = server.getsockname()[1]
        stack = LocalStack(folder=tmp_path, index_dir=tmp_path, proxy=BUILTIN, ports={"service": port})
        with pytest.raises(PortBusy, match=f"pid {os.getpid()}"):
            stack.start()
    assert marked(str(stack.stack_file)) == []


def test_a_failed_start_leaves_no_process(tmp_path: Path) -> None:
    """When one part dies at start (here: a proxy that is none), those that were started before go too."""
    (tmp_path / "manifest.json").write_text("{}")
    broken = ProxyChoice("builtin", "a test", command=(sys.executable, "-c", "raise SystemExit('broken')"))
    stack = LocalStack(folder=tmp_path, index_dir=tmp_path, proxy=broken)
    with pytest.raises(PartDied, match="proxy ended with exit code 1"):
        stack.start()
    described = read_description(tmp_path / "stack.json")
    assert described is not None and described.parts and not described.living()
    assert marked(str(stack.stack_file)) == []


@pytest.mark.parametrize(
    "server",
    [
        simulator({"model": "m"}),
        ModelServer("vllm", "1.2", "m", ("no-such-vllm",)),
        ModelServer("url", "1.3", "m", address="127.0.0.1:9"),
    ],
    ids=lambda server: server.kind,
)
def test_the_model_server_is_named_before_it_is_waited_for(tmp_path: Path, server: ModelServer) -> None:
    """Kind, version and model are in stack.json also when the start fails; only an own one is a process."""
    (tmp_path / "manifest.json").write_text("{}")
    broken = ProxyChoice("builtin", "a test", command=(sys.executable, "-c", "raise SystemExit('broken')"))
    stack = LocalStack(folder=tmp_path, index_dir=tmp_path, proxy=broken, model_server=server)
    with pytest.raises(StackError):
        stack.start()
    described = read_description(tmp_path / "stack.json")
    assert described is not None and described.model_server is not None
    told = described.model_server
    assert (told.kind, told.version, told.model) == (server.kind, server.version, "m")
    assert told.owned == (server.kind != "url")
    assert ("llm" in described.identities()) == (server.kind == "simulator")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    folder = tmp_path_factory.mktemp("bundle")
    stack = LocalStack(
        folder=folder,
        index_dir=HOME / "index",
        proxy=choose_proxy(os.environ, HOME),
        model_server=simulator({"first-token": "5ms", "token": "1ms"}),
        runner=ProcessIdentity.of_this_process(),
        home=folder,
    )
    with stack:
        yield stack
    assert stack.description.living().keys() <= {"runner"}
    assert marked(str(stack.stack_file)) == []


def test_the_stack_answers_through_the_fault_proxy(running: LocalStack) -> None:
    """A ready stack gives a full answer; with the proxy to the vector DB shut, it no longer does."""
    question = {"question": "How do I parse JSON?"}
    before = httpx.post(f"{running.service_url}/v1/answers", json=question, timeout=20.0)
    assert before.status_code == 200 and before.json()["outcome"] == "full"
    proxy = Toxiproxy(running.proxy_api)
    proxy.set_enabled("vector_db", False)
    during = httpx.post(f"{running.service_url}/v1/answers", json=question, timeout=20.0)
    proxy.set_enabled("vector_db", True)
    assert during.status_code != 200 or during.json()["outcome"] != "full"


def test_everything_that_runs_is_described_and_listens_on_loopback_only(running: LocalStack) -> None:
    """stack.json names each process with pid, log and address, and no part is open to the network."""
    described = read_description(running.stack_file)
    assert described is not None and described == running.description
    assert set(described.living()) == {"runner", "vector_db", "llm", "proxy", "service"}
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    for name, identity in described.identities().items():
        if name == "runner":
            continue
        process = identity.process()
        assert process is not None and Path(str(described.parts[name].log)).exists()
        listening = [c for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        assert listening and all(c.laddr.ip == "127.0.0.1" for c in listening)
        assert process.nice() == (ours if name == "proxy" else max(10, ours))


def test_the_barrier_and_the_breakers_can_be_asked(running: LocalStack) -> None:
    """A run can see the breakers and flush the spans of a real service."""
    assert set(running.breaker_states()) == {"vector_db", "llm"}
    flushed = running.flush()
    assert flushed.last_seq is not None and flushed.lost == 0


def test_a_stack_that_stays_is_found_by_the_next_command(tmp_path: Path) -> None:
    """`up` twice says that it is up and where; half dead is told from up; `down` twice is no error."""
    index = HOME / "index"
    assert up(tmp_path, index_dir=index, proxy=BUILTIN).state == "up"
    with pytest.raises(StackBusy, match="the stack is up at http://127"):
        up(tmp_path, index_dir=index, proxy=BUILTIN)
    described = state(tmp_path).description
    assert described is not None
    os.kill(described.identities()["llm"].pid, 9)
    while "llm" in described.living():
        time.sleep(0.01)
    half = state(tmp_path)
    assert half.state == "half dead" and "llm" in half.sentence() and "ragquake down" in half.sentence()
    assert set(down(tmp_path).teardown.stopped) == {"vector_db", "proxy", "service"}
    assert not described.living()
    assert down(tmp_path).sentence() == "no stack was up"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_a_start_that_is_interrupted_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, SIGTERM and a closed terminal in the middle of `up` end what it has started by then."""
    (tmp_path / "index").symlink_to(HOME / "index")
    command = [Path(sys.executable).with_name("ragquake"), "up", "--state", tmp_path]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    stack_file = tmp_path / "stack.json"
    end_s = time.monotonic() + 60.0
    try:
        while (described := read_description(stack_file)) is None or "service" not in described.living():
            assert process.poll() is None and time.monotonic() < end_s, "the service never began to start"
            time.sleep(0.05)
        process.send_signal(number)
        said, _ = process.communicate(timeout=60.0)
        assert process.returncode == ExitCode.INTERRUPTED, said
        assert not described.living() and marked(str(stack_file)) == []
        assert state(tmp_path).state == "down"
    finally:
        process.kill()
        down(tmp_path)


def test_a_borrowed_toxiproxy_keeps_what_is_not_ours(tmp_path: Path) -> None:
    """On somebody else's proxy server a foreign `vector_db` is refused; a leftover of ours makes room."""
    port = reserve_port()
    plan = PartPlan(
        "proxy",
        BUILTIN.command_on("127.0.0.1", port),
        child_environment(os.environ, str(tmp_path)),
        ready_url=f"http://127.0.0.1:{port}/version",
    )
    server = Part.start(plan, tmp_path)
    try:
        wait_ready([server], SystemClock())
        toxiproxy = Toxiproxy(f"http://127.0.0.1:{port}")
        upstream = f"127.0.0.1:{reserve_port()}"
        made = toxiproxy.create_proxy("vector_db", "127.0.0.1:0", upstream)
        borrowed = BorrowedProxies(tmp_path)
        with pytest.raises(ProxyUnavailable, match="toxiproxy-cli delete vector_db"):
            borrowed.make_room(toxiproxy, ("vector_db", "llm"))
        borrowed.remember(toxiproxy.api, "vector_db", made.listen, made.upstream)
        borrowed.make_room(toxiproxy, ("vector_db", "llm"))
        assert toxiproxy.proxies() == {}
    finally:
        server.stop()
