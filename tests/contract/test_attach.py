"""A stack that runs already, against real proxies: looked at, used, and left as it was."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from chaos.control.builtin_proxy import BuiltinProxy, HttpFaultSpec
from chaos.control.controls import controls_of
from chaos.control.fault_control import FaultControl
from chaos.control.toxiproxy import Toxic, Toxiproxy
from chaos.faults import parse_fault
from chaos.run.journal import Journal
from chaos.safety.rollback import rollback
from chaos.safety.targets import Allowed
from chaos.stack.attach import AttachedStack
from chaos.stack.description import read_description
from chaos.stack.errors import ProxyUnavailable, StackError
from chaos.stack.ports import reserve_port
from chaos.stack.target import AttachedTarget, ProxyThere, ProxyToPut
from tests.fault_proxies import FaultProxy, fault_proxy
from tests.tcp import Start, read
from tests.tcp import echo as echoing

ENVIRONMENT = dict(os.environ)


@pytest.fixture(scope="module", params=["toxiproxy", "builtin"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultProxy]:
    """A server of somebody else, who keeps it."""
    with fault_proxy(tmp_path_factory.mktemp("theirs"), kind=request.param) as server:
        yield server


@pytest.fixture
def theirs(running: FaultProxy, echo: str) -> Iterator[FaultProxy]:
    """With a proxy before the vector DB, and another one that is nobody's business."""
    running.proxy(echo, "pgvector")
    running.proxy(echo, "other")
    yield running
    running.clean()


@pytest.fixture
def target(theirs: FaultProxy, echo: str) -> AttachedTarget:
    return AttachedTarget(
        path=Path("staging.yaml"),
        name="staging",
        service="http://127.0.0.1:1",
        proxies={
            "vector_db": ProxyThere(theirs.api, "pgvector"),
            "llm": ProxyToPut(f"127.0.0.1:{reserve_port()}", echo),
        },
        allowed=Allowed(listed_in="staging.yaml"),
    )


def attached(folder: Path, target: AttachedTarget, on_requests: bool = False) -> AttachedStack:
    return AttachedStack(folder=folder, target=target, on_requests=on_requests, environment=ENVIRONMENT)


def answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.settimeout(5)
            connection.sendall(b"ping")
            return read(connection, 4) == b"ping"
    except OSError:
        return False


def there(target: AttachedTarget) -> ProxyThere:
    found = target.proxies["vector_db"]
    assert isinstance(found, ProxyThere)
    return found


def put(target: AttachedTarget) -> ProxyToPut:
    found = target.proxies["llm"]
    assert isinstance(found, ProxyToPut)
    return found


def test_what_is_there_stays_as_it_was_and_what_was_put_goes(
    tmp_path: Path, theirs: FaultProxy, target: AttachedTarget
) -> None:
    """The run's own proxy works while the block lasts; the server of somebody else is only read."""
    before = theirs.client.proxies()
    with attached(tmp_path, target) as stack:
        assert answers(put(target).listen)
        stack.require_alive()
        description = read_description(stack.stack_file)
    assert not answers(put(target).listen)
    assert theirs.client.proxies() == before
    assert description is not None
    assert (description.kind, description.target) == ("attached", "staging")
    found, own = description.dependencies["vector_db"], description.dependencies["llm"]
    assert found.server is not None and own.server is not None
    assert (found.server.api, found.server.kind, found.server.owned) == (theirs.api, theirs.kind, False)
    assert (found.proxy, found.upstream) == ("pgvector", before["pgvector"].upstream)
    assert own.server.owned and description.proxy == own.server
    assert set(description.parts) == {"proxy"}


def test_faults_go_into_the_proxy_of_their_dependency(
    tmp_path: Path, theirs: FaultProxy, target: AttachedTarget
) -> None:
    """One into the server of somebody else, one into the run's own; both come out again."""
    faults = {
        "slow": parse_fault("slow", {"on": "vector_db", "kind": "latency", "latency": "1s"}),
        "gone": parse_fault("gone", {"on": "llm", "kind": "down"}),
    }
    with attached(tmp_path, target) as stack, Journal(tmp_path / "journal.jsonl") as journal:
        control = FaultControl(faults, controls_of(stack, lease="run"), journal)
        lease = controls_of(stack).builtin
        assert lease is not None
        lease.put_lease("run", 30)
        control.check()
        control.switch_to(["slow", "gone"])
        assert [toxic.name for toxic in theirs.client.proxy("pgvector").toxics] == ["slow"]
        assert not theirs.client.proxy("other").toxics
        assert not answers(put(target).listen)
        control.switch_to([])
        assert answers(put(target).listen)
        assert not theirs.client.proxy("pgvector").toxics


def test_a_rollback_from_the_journal_alone_cleans_both(
    tmp_path: Path, theirs: FaultProxy, target: AttachedTarget
) -> None:
    """As the warden does it when the runner was killed: nothing but the bundle's files is left to go by."""
    faults = {
        "slow": parse_fault("slow", {"on": "vector_db", "kind": "latency", "latency": "1s"}),
        "shut": parse_fault("shut", {"on": "vector_db", "kind": "down"}),
        "late": parse_fault("late", {"on": "llm", "kind": "latency", "latency": "1s"}),
    }
    stack = attached(tmp_path, target).start()
    with Journal(tmp_path / "journal.jsonl") as journal:
        FaultControl(faults, controls_of(stack), journal).switch_to(["slow", "late", "shut"])
    report = rollback(tmp_path, by="warden")
    assert report.clean, report.sentence()
    assert {fault.fault for fault in report.faults} == {"slow", "late", "shut"}
    assert report.stopped == ("proxy",)
    assert not theirs.client.proxy("pgvector").toxics
    assert theirs.client.proxy("pgvector").enabled
    assert set(theirs.client.proxies()) == {"pgvector", "other"}
    assert not answers(put(target).listen)
    assert rollback(tmp_path, by="warden").nothing_to_do


def test_faults_on_requests_go_where_somebody_reads_them(tmp_path: Path, target: AttachedTarget) -> None:
    """The run's own proxy reads requests when a fault needs it, and not otherwise."""
    with attached(tmp_path / "one", target, on_requests=True) as stack:
        assert controls_of(stack).door("llm").requests is not None
    with attached(tmp_path / "two", target) as stack:
        assert controls_of(stack).door("llm").requests is None


def test_a_builtin_proxy_that_is_there_and_reads_requests_is_known(tmp_path: Path, echo: str) -> None:
    """`ragquake proxy`, left running before a dependency, takes every fault; one that is in is refused."""
    with fault_proxy(tmp_path) as server:
        server.proxy(echo, "llm", http=True)
        target = AttachedTarget(
            Path("t.yaml"), "t", "http://127.0.0.1:1", proxies={"llm": ProxyThere(server.api, "llm")}
        )
        with attached(tmp_path, target) as stack:
            door = controls_of(stack, lease="run").door("llm")
            assert isinstance(door.proxy, BuiltinProxy) and door.requests is door.proxy
        server.client.add_http_fault(
            "llm", HttpFaultSpec("left-over", "http_error", attributes={"status": 503})
        )
        with pytest.raises(ProxyUnavailable, match="has faults in already: left-over"):
            attached(tmp_path, target).start()


def test_a_proxy_with_faults_in_is_not_used(
    theirs: FaultProxy, target: AttachedTarget, tmp_path: Path
) -> None:
    """They would be measured as the target's own; and a disabled one is no way to a dependency."""
    theirs.client.add_toxic("pgvector", Toxic("old", "latency", attributes={"latency": 10}))
    with pytest.raises(ProxyUnavailable, match=r"pgvector.*has faults in already: old.*toxiproxy-cli"):
        attached(tmp_path, target).start()
    theirs.client.remove_toxic("pgvector", "old")
    theirs.client.set_enabled("pgvector", False)
    with pytest.raises(ProxyUnavailable, match="is disabled"):
        attached(tmp_path, target).start()
    assert not answers(put(target).listen)


def test_a_proxy_that_is_not_there_is_told_from_those_that_are(
    theirs: FaultProxy, target: AttachedTarget, tmp_path: Path
) -> None:
    """A typing error is met with the names that there are."""
    wrong = replace(target, proxies={"vector_db": ProxyThere(theirs.api, "pgvectr")})
    with pytest.raises(
        ProxyUnavailable, match=r"'pgvectr' \(did you mean pgvector\?\); it has other, pgvector"
    ):
        attached(tmp_path, wrong).start()
    nobody = replace(target, proxies={"vector_db": ProxyThere(f"http://127.0.0.1:{reserve_port()}", "p")})
    with pytest.raises(ProxyUnavailable, match=r"dependencies\.vector_db in staging\.yaml: .*nobody listens"):
        attached(tmp_path, nobody).start()


def test_a_proxy_that_leads_to_another_machine_is_refused_unless_that_is_listed(
    theirs: FaultProxy, target: AttachedTarget, tmp_path: Path
) -> None:
    """Load goes to what is behind it, and it is not the target file that decided where that is."""
    listed = Allowed(frozenset({(IPv4Address("10.9.9.9"), 5432)}), listed_in="staging.yaml")
    for name, upstream in (("far", "10.9.9.9:5432"), ("named", "vector-db:6333")):
        theirs.client.create_proxy(name, "127.0.0.1:0", upstream)
        far = replace(target, proxies={"vector_db": ProxyThere(theirs.api, name)})
        with pytest.raises(ProxyUnavailable, match=rf"{upstream}, which is not this machine"):
            attached(tmp_path, far).start()
    far = replace(target, proxies={"vector_db": ProxyThere(theirs.api, "far")}, allowed=listed)
    attached(tmp_path, far).start().stop()
    words = Allowed(names=frozenset({"vector-db:6333"}), listed_in="staging.yaml")
    named = replace(target, proxies={"vector_db": ProxyThere(theirs.api, "named")}, allowed=words)
    attached(tmp_path, named).start().stop()


def test_a_port_that_is_taken_is_said_and_nothing_is_left(
    target: AttachedTarget, tmp_path: Path, upstream: Start
) -> None:
    """The message names the key of the target file; the proxy that was started for it is gone."""
    taken = replace(target, proxies={"llm": ProxyToPut(upstream(echoing), put(target).upstream)})
    stack = attached(tmp_path, taken)
    with pytest.raises(ProxyUnavailable, match=r"dependencies\.llm\.listen in staging\.yaml"):
        stack.start()
    description = read_description(stack.stack_file)
    assert description is not None and not description.living()


def test_a_service_that_is_not_ready_is_waited_for_and_then_named(
    target: AttachedTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is started, so somebody else has to."""
    monkeypatch.setattr("chaos.stack.attach.READY_TIMEOUT_S", 0.0)
    with pytest.raises(
        StackError, match=r"staging is not ready: http://127\.0\.0\.1:1/readyz gave ConnectError"
    ):
        attached(tmp_path, replace(target, ready="/readyz")).start()
    assert not answers(put(target).listen)


def test_spans_that_were_lost_before_the_run_are_not_held_against_it(
    target: AttachedTarget, tmp_path: Path, upstream: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a run nobody listens for them, and an exporter that had given up needs a moment to try again."""
    monkeypatch.setattr("chaos.stack.attach.READY_POLL_S", 0.0)
    answers_ = iter([(503, "{}"), *((200, _flushed(lost)) for lost in (40, 40, 42, 1))])

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        status, body = next(answers_)
        head = f"HTTP/1.1 {status} Said\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        connection.sendall((head + body).encode())
        connection.close()

    counting = replace(target, service=f"http://{upstream(serve)}", flush="/flush", proxies={})
    with attached(tmp_path, counting) as stack:
        assert [stack.flush().lost for _ in range(3)] == [0, 2, 0]


def _flushed(lost: int) -> str:
    return json.dumps({"last_seq": 7, "spans": {"failed": lost - 1, "dropped": 1}})


def test_a_service_that_never_flushes_does_not_start_a_run(
    target: AttachedTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its spans could not be counted at the end either."""
    monkeypatch.setattr("chaos.stack.attach.READY_TIMEOUT_S", 0.0)
    with pytest.raises(StackError, match=r"staging: .*did not flush.*service\.flush in staging\.yaml"):
        attached(tmp_path, replace(target, flush="/flush", proxies={})).start()


def test_the_end_of_the_runs_own_proxy_is_noticed(target: AttachedTarget, tmp_path: Path) -> None:
    """Without it the service has lost a dependency by the run's fault, which is no finding."""
    with attached(tmp_path, target) as stack:
        identity = stack.description.parts["proxy"].identity
        process = identity.process() if identity else None
        assert process is not None
        process.kill()
        process.wait(10)
        with pytest.raises(StackError, match="proxy"):
            stack.require_alive()


def test_without_paths_nothing_is_asked(
    target: AttachedTarget, tmp_path: Path, no_sleep: Callable[[], None]
) -> None:
    """No breakers to show, and a barrier that waits as long as exporters hold spans back."""
    del no_sleep
    stack = attached(tmp_path, target)
    assert stack.breaker_states() == {}
    assert stack.flush().last_seq is None


@pytest.fixture
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaos.stack.attach.SETTLE_S", 0.0)


def test_the_client_of_somebody_elses_server_is_toxiproxys(
    target: AttachedTarget, theirs: FaultProxy, tmp_path: Path
) -> None:
    """What only the built-in proxy knows (leases) is never asked of a Toxiproxy."""
    with attached(tmp_path, replace(target, proxies={"vector_db": there(target)})) as stack:
        at = controls_of(stack, lease="run")
        assert type(at.door("vector_db").proxy) is (BuiltinProxy if theirs.is_builtin else Toxiproxy)
        assert (at.builtin is not None) == theirs.is_builtin
