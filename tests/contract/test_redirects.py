"""A target that redirects: nobody of a run goes where it points, since nobody decided that it may be hurt."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import cast

import pytest

from chaos.control.fault_proxy import FaultProxyError
from chaos.control.simulator import SimulatorError, SimulatorFaults
from chaos.control.toxiproxy import Toxiproxy
from chaos.run.steady_state import look_at_steady_state
from chaos.safety.targets import Allowed
from chaos.stack.attach import AttachedStack
from chaos.stack.barrier import flush
from chaos.stack.breakers import breaker_states
from chaos.stack.errors import ProxyUnavailable, StackError
from chaos.stack.model_servers.elsewhere import elsewhere
from chaos.stack.opening import Stack
from chaos.stack.target import AttachedTarget, ProxyThere
from chaos.target_examinations import examine_target
from tests.tcp import Start

ROOT = Path(__file__).resolve().parents[2]
ASK = """
import sys
from journeys.clock import SteadyClock
from journeys.exchange import AnswerClient
client = AnswerClient(sys.argv[1], connections=1, clock=SteadyClock.anchored())
print(client.greet(5.0))
print(client.ask({"question": "x"}, {"Content-Type": "application/json"}, patience_s=5.0).status)
"""


class Evil:
    """Another machine, as far as the run knows; it counts who came."""

    def __init__(self, start: Start) -> None:
        self.came = 0
        self.address = start(self._serve)

    def _serve(self, connection: socket.socket) -> None:
        self.came += 1
        connection.recv(65536)
        body = b'{"outcome": "full", "version": "2.12.0", "last_seq": 1}'
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\ncontent-type: application/json\r\n\r\n"
        connection.sendall(head.encode() + body)
        connection.close()


@pytest.fixture
def evil(upstream: Start) -> Evil:
    return Evil(upstream)


@pytest.fixture(params=[301, 302, 303, 307, 308])
def redirecting(request: pytest.FixtureRequest, upstream: Start, evil: Evil) -> str:
    """Answers every request with a way to the other machine; its URL."""

    def serve(connection: socket.socket) -> None:
        while data := connection.recv(65536):
            path = data.split(b" ")[1].decode()
            connection.sendall(
                f"HTTP/1.1 {request.param} Moved\r\nlocation: http://{evil.address}{path}\r\n"
                "content-length: 0\r\n\r\n".encode()
            )

    return f"http://{upstream(serve)}"


def attached(folder: Path, url: str, **more: object) -> AttachedStack:
    target = AttachedTarget(folder / "t.yaml", "t", url, allowed=Allowed(listed_in="t.yaml"), **more)  # type: ignore[arg-type]
    return AttachedStack(folder=folder, target=target)


def test_no_client_of_a_run_follows_a_redirect(
    redirecting: str, evil: Evil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steady state, readiness, breakers, barrier, proxies' and simulator's APIs, --llm, doctor."""
    monkeypatch.setattr("chaos.stack.attach.READY_TIMEOUT_S", 0.0)
    seen = look_at_steady_state(cast(Stack, attached(tmp_path, redirecting)), 5.0)
    assert not seen.holds
    with pytest.raises(StackError, match="answered 30"):
        attached(tmp_path, redirecting, ready="/readyz").start()
    assert breaker_states(redirecting) == {}
    with pytest.raises(StackError):
        flush(redirecting)
    with pytest.raises(ProxyUnavailable):
        attached(tmp_path, redirecting, proxies={"llm": ProxyThere(redirecting, "llm")}).start()
    with pytest.raises(FaultProxyError):
        Toxiproxy(redirecting).version()
    with pytest.raises(SimulatorError):
        SimulatorFaults(redirecting.removeprefix("http://")).put("x", {"kind": "stall"})
    with pytest.raises(StackError):
        elsewhere(redirecting)
    file = tmp_path / "target.yaml"
    file.write_text(
        f"apiVersion: ragquake/v1\nkind: Target\nname: t\nservice: {{url: {redirecting}, ready: /readyz}}\n"
    )
    assert "answered 30" in examine_target(file)[1].consequence
    assert evil.came == 0


def test_the_journeys_follow_no_redirect(redirecting: str, evil: Evil) -> None:
    """The load stays where it was decided to go, and the answer counts as what it is."""
    said = subprocess.run(
        [sys.executable, "-c", ASK, redirecting], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert said.returncode == 0, said.stderr
    assert all(status.startswith("30") for status in said.stdout.split())
    assert evil.came == 0


def test_an_http_proxy_in_the_environment_is_not_heeded(
    upstream: Start, evil: Evil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take load and faults to a machine that nobody named, before anybody decides anything."""
    answered = threading.Event()

    def serve(connection: socket.socket) -> None:
        answered.set()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        connection.close()

    url = f"http://{upstream(serve)}"
    environment = dict.fromkeys(
        ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), f"http://{evil.address}"
    )
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    look_at_steady_state(cast(Stack, attached(tmp_path, url)), 5.0)
    breaker_states(url)
    with pytest.raises(StackError):
        flush(url)
    with pytest.raises(FaultProxyError):
        Toxiproxy(url).version()
    subprocess.run([sys.executable, "-c", ASK, url], cwd=ROOT, env={**os.environ}, timeout=60, check=True)
    assert answered.is_set()
    assert evil.came == 0


def test_the_other_machine_would_have_been_noticed(evil: Evil) -> None:
    """Negative control: who goes there is counted."""
    host, _, port = evil.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.recv(100)
    assert evil.came == 1
