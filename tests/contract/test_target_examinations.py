"""`ragquake doctor --stack FILE` and `ragquake validate FILE`: whether a target is fit for a run."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chaos.cli import app
from chaos.examinations import Finding
from chaos.stack.ports import reserve_port
from chaos.target_examinations import examine_target
from tests.fault_proxies import FaultProxy, fault_proxy
from tests.tcp import Start


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultProxy]:
    with fault_proxy(tmp_path_factory.mktemp("theirs"), kind="toxiproxy") as server:
        yield server


@pytest.fixture
def theirs(running: FaultProxy, echo: str) -> Iterator[FaultProxy]:
    running.proxy(echo, "pgvector")
    yield running
    running.clean()


def service(connection: socket.socket) -> None:
    """Ready, and no more."""
    request = connection.recv(65536)
    status = b"200 OK" if request.startswith(b"GET /readyz ") else b"404 Not Found"
    connection.sendall(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    connection.close()


@pytest.fixture
def text(theirs: FaultProxy, upstream: Start, echo: str) -> str:
    return f"""
apiVersion: ragquake/v1
kind: Target
name: staging
service: {{url: http://{upstream(service)}, ready: /readyz}}
dependencies:
  vector_db: {{toxiproxy: {theirs.api}, proxy: pgvector}}
  llm: {{listen: 127.0.0.1:{reserve_port()}, upstream: {echo}}}
telemetry: {{listen: 127.0.0.1:{reserve_port()}}}
"""


def found(folder: Path, text: str) -> dict[str, Finding]:
    path = folder / "staging.yaml"
    path.write_text(text)
    return {finding.name: finding for finding in examine_target(path)}


def test_a_target_that_is_fit_has_no_problem(tmp_path: Path, theirs: FaultProxy, text: str) -> None:
    """Everything that a run would use was asked, and nothing was put anywhere or changed."""
    before = theirs.client.proxies()
    seen = found(tmp_path, text)
    assert {name: one.level for name, one in seen.items()} == {
        "Target": "ok",
        "Service": "ok",
        "Proxy before vector_db": "ok",
        "Proxy before llm": "ok",
        "Telemetry": "ok",
        "Barrier": "note",
    }
    assert theirs.client.proxies() == before


def test_what_would_end_a_run_is_a_problem(tmp_path: Path, theirs: FaultProxy, text: str, echo: str) -> None:
    """Each with the words with which the run would end, before anybody waited for it."""
    for old, new, name, said in (
        ("ready: /readyz", "ready: /other", "Service", "answered 404; a run waits for 200"),
        ("proxy: pgvector", "proxy: pgvektor", "Proxy before vector_db", "did you mean pgvector?"),
        (f"upstream: {echo}", f"upstream: 127.0.0.1:{reserve_port()}", "Proxy before llm", "nobody listens"),
        ("telemetry:", "#", "Telemetry", "inconclusive"),
        ("http://127", "http://8.8.8.8:1#127", "Target", "service.url"),
    ):
        finding = found(tmp_path, text.replace(old, new, 1))[name]
        assert finding.level == "problem"
        assert said in finding.consequence
    theirs.client.set_enabled("pgvector", False)
    assert "is disabled" in found(tmp_path, text)["Proxy before vector_db"].consequence


def test_a_port_that_is_taken_is_a_problem(tmp_path: Path, text: str) -> None:
    """A collector that has the port already would keep the spans from the run."""
    port = int(text.rpartition("127.0.0.1:")[2].split("}")[0])
    with socket.create_server(("127.0.0.1", port)):
        finding = found(tmp_path, text)["Telemetry"]
    assert finding.level == "problem" and "in use" in finding.consequence


def test_the_command_looks_at_the_machine_and_the_target(tmp_path: Path, text: str) -> None:
    """One list; `validate` checks the file alone."""
    path = tmp_path / "staging.yaml"
    path.write_text(text)
    told = CliRunner().invoke(app, ["doctor", "--stack", str(path)])
    assert told.exit_code == 0, told.output
    assert "Cores" in told.output and "Proxy before vector_db" in told.output
    assert "✓" in CliRunner().invoke(app, ["validate", str(path)]).output
    path.write_text(text.replace("kind: Target", "kind: Target\nowner: me"))
    refused = CliRunner().invoke(app, ["validate", str(path)])
    assert refused.exit_code != 0
    assert "owner: unknown key" in str(refused.exception)
