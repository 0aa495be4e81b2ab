"""The client, the faults and the undo records, each against both servers."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import psutil
import pytest

from chaos.control.builtin_proxy import BuiltinProxy, HttpFaultSpec
from chaos.control.controls import Controls
from chaos.control.toxiproxy import (
    FaultProxyError,
    ProxyGoneError,
    ProxyHungError,
    ProxyMissingError,
    ProxyState,
    Toxic,
    Toxiproxy,
)
from chaos.faults import parse_fault
from chaos.safety.undo import perform
from tests.clocks import until

pytestmark = pytest.mark.slow

UP = "127.0.0.1:9"
FAULTS: list[Mapping[str, Any]] = [
    {"kind": "latency", "latency": "2s", "jitter": "200ms"},
    {"kind": "down"},
    {"kind": "timeout"},
    {"kind": "reset", "after": "50ms"},
    {"kind": "bandwidth", "rate": 100},
    {"kind": "slow_close", "delay": "1s"},
    {"kind": "slicer", "average_size": 64, "size_variation": 16, "delay": "1ms"},
    {"kind": "limit_data", "bytes": 100},
]


@pytest.fixture
def client(server: Any) -> Toxiproxy:
    return Toxiproxy(server.api, timeout_s=3.0)


@pytest.mark.parametrize("raw", FAULTS, ids=lambda raw: raw["kind"])
@pytest.mark.parametrize("on", ["vector_db", "llm"])
def test_a_fault_goes_in_reads_back_and_is_undone_twice(
    client: Toxiproxy, raw: Mapping[str, Any], on: str
) -> None:
    """Injected, a fault reads back; undone from its record it is gone; undone again that is fine."""
    client.create_proxy(on, "127.0.0.1:0", UP)
    fault = parse_fault("the-fault", {"on": on, **raw})
    at = Controls(client)
    undo = fault.undo(at, "the-fault")
    assert fault.is_gone(at, "the-fault")
    with pytest.raises(FaultProxyError):
        fault.read_back(at, "the-fault")
    fault.inject(at, "the-fault")
    assert fault.read_back(at, "the-fault")
    assert not fault.is_gone(at, "the-fault")
    first, second = perform(undo), perform(undo)
    assert fault.is_gone(at, "the-fault")
    assert "already" in second
    assert "already" not in first


@pytest.mark.parametrize("raw", FAULTS, ids=lambda raw: raw["kind"])
def test_a_fault_is_removed_by_its_own_hand(client: Toxiproxy, raw: Mapping[str, Any]) -> None:
    """What a fault injects it can remove."""
    client.create_proxy("llm", "127.0.0.1:0", UP)
    fault = parse_fault("the-fault", {"on": "llm", **raw})
    at = Controls(client)
    fault.inject(at, "the-fault")
    fault.remove(at, "the-fault")
    assert fault.is_gone(at, "the-fault")
    assert client.proxy("llm").enabled


def test_another_toxic_of_the_same_name_is_not_this_fault(client: Toxiproxy) -> None:
    """Reading back compares sizes, so that a weaker fault is not taken for the one asked for."""
    client.create_proxy("llm", "127.0.0.1:0", UP)
    client.add_toxic("llm", Toxic("slow", "latency", attributes={"latency": 1}))
    fault = parse_fault("slow", {"on": "llm", "kind": "latency", "latency": "2s"})
    with pytest.raises(FaultProxyError, match="not Toxic"):
        fault.read_back(Controls(client), "slow")


def test_undo_is_fine_with_what_is_gone(server: Any, client: Toxiproxy) -> None:
    """A proxy that is gone took its faults with it, and so did a process that is gone."""
    assert "gone" in perform({"do": "enable", "api": server.api, "proxy": "llm"})
    record = {"do": "remove_toxic", "api": server.api, "proxy": "llm", "toxic": "x"}
    assert perform(record) == "proxy llm is gone, and x with it"
    assert "gone" in perform({**record, "api": "http://127.0.0.1:1"})
    client.create_proxy("llm", "127.0.0.1:0", UP)
    assert perform(record) == "x was already gone from llm"


def test_a_new_proxy_is_enabled_with_its_toxics_and_its_real_port(client: Toxiproxy) -> None:
    """Creation returns where the proxy really listens, and toxics are in before it does."""
    toxic = Toxic("slow", "latency", attributes={"latency": 5})
    state = client.create_proxy("llm", "127.0.0.1:0", UP, (toxic,))
    assert state.enabled
    assert not state.listen.endswith(":0")
    assert [each.name for each in state.toxics] == ["slow"]
    assert client.proxies() == {"llm": state}


def test_a_proxy_that_cannot_listen_is_not_left_behind(server: Any, client: Toxiproxy) -> None:
    """The error says what was asked and answered, and the half-made proxy is gone."""
    with pytest.raises(FaultProxyError, match="address already in use") as caught:
        client.create_proxy("llm", server.api.removeprefix("http://"), UP)
    assert caught.value.status == 500
    assert client.proxies() == {}


def test_a_misspelt_attribute_is_an_error_and_leaves_no_toxic(client: Toxiproxy) -> None:
    """Toxiproxy takes it in silence; reading back finds it out and takes the toxic away."""
    client.create_proxy("llm", "127.0.0.1:0", UP)
    with pytest.raises(FaultProxyError, match="latncy"):
        client.add_toxic("llm", Toxic("slow", "latency", attributes={"latncy": 5}))
    assert client.toxics("llm") == {}


def test_what_is_missing_has_its_own_error(client: Toxiproxy) -> None:
    """404 is told from all else, since undoing treats it as done."""
    with pytest.raises(ProxyMissingError, match="proxy not found"):
        client.proxy("llm")
    client.create_proxy("llm", "127.0.0.1:0", UP)
    with pytest.raises(ProxyMissingError, match="toxic not found"):
        client.remove_toxic("llm", "x")


def test_reset_enables_and_cleans_everything(client: Toxiproxy) -> None:
    """After a reset all proxies are as new."""
    client.create_proxy("llm", "127.0.0.1:0", UP, (Toxic("slow", "latency"),), enabled=False)
    client.reset()
    state = client.proxy("llm")
    assert (state.enabled, state.toxics) == (True, ())


def test_what_toxiproxy_cannot_do_is_told_with_what_can(server: Any) -> None:
    """Asked for a lease, evidence or requests, Toxiproxy is an error, and nothing half done is left."""
    client = BuiltinProxy(server.api, timeout_s=3.0)
    client.create_proxy("web", "127.0.0.1:0", UP)
    calls: list[Callable[[], object]] = [
        lambda: client.put_lease("run", 5),
        lambda: client.create_proxy("hop", "127.0.0.1:0", UP, http=True),
        lambda: client.create_proxy("leased", "127.0.0.1:0", UP, lease="run"),
        lambda: client.add_toxic("web", Toxic("slow", "latency", lease="run")),
        lambda: client.add_http_fault("hop", HttpFaultSpec("bad", "http_error", {"status": 503})),
        lambda: client.disable("web", "run"),
        client.evidence,
        lambda: client.end_lease("run"),
    ]
    if server.kind == "builtin":
        for call in calls:
            call()
        assert list(client.toxics("web")) == []
        return
    for call in calls:
        with pytest.raises(FaultProxyError, match=r"RAGQUAKE_PROXY=builtin|lease =  .asked: run"):
            call()
    assert sorted(client.proxies()) == ["web"]
    assert client.toxics("web") == {}
    assert client.proxy("web").enabled


def test_a_process_that_is_gone_is_told_from_one_that_hangs() -> None:
    """Nobody listening is its own error: then there is no fault left."""
    with pytest.raises(ProxyGoneError, match="nobody listens"):
        Toxiproxy("http://127.0.0.1:1").version()


@dataclass(frozen=True, slots=True)
class Wedged:
    """A proxy with toxics and a client that does not read, so that in Toxiproxy calls about toxics hang."""

    client: Toxiproxy
    before: ProxyState


@pytest.fixture
def wedged(server: Any, upstream: Callable[[Callable[[socket.socket], None]], str]) -> Iterator[Wedged]:
    full = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            while True:
                connection.sendall(b"x" * 65536)
        full.set()
        threading.Event().wait(30)

    client = Toxiproxy(server.api, timeout_s=1.0)
    toxics = (Toxic("kept", "noop", "upstream"), Toxic("slow", "latency", attributes={"latency": 20}))
    state = client.create_proxy("llm", "127.0.0.1:0", upstream(serve), toxics)
    host, _, port = state.listen.rpartition(":")
    with socket.create_connection((host, int(port))):
        assert full.wait(10)
        yield Wedged(client, state)


def test_a_toxic_is_removed_although_a_client_does_not_read(wedged: Wedged) -> None:
    """Toxiproxy's DELETE hangs then; the proxy is made anew with its address and its other toxics."""
    wedged.client.remove_toxic("llm", "slow")
    kept = tuple(toxic for toxic in wedged.before.toxics if toxic.name == "kept")
    assert wedged.client.proxy("llm") == replace(wedged.before, toxics=kept)


@pytest.mark.parametrize("what", ["add", "change"])
def test_a_toxic_that_hangs_on_its_way_in_leaves_nothing(server: Any, wedged: Wedged, what: str) -> None:
    """Toxiproxy would stay wedged, with its toxic in or not; the proxy is made anew as it was, and undone."""
    client, before = wedged.client, wedged.before

    def act() -> None:
        if what == "add":
            client.add_toxic("llm", Toxic("new", "bandwidth", attributes={"rate": 5}))
        else:
            client.update_toxic("llm", Toxic("slow", "latency", attributes={"latency": 9000}))

    if server.is_builtin:
        act()
        assert client.proxy("llm").toxics != before.toxics
        return
    with pytest.raises(ProxyHungError, match="may have been done or not"):
        act()
    assert client.proxy("llm") == before
    assert "already gone" in perform(
        {"do": "remove_toxic", "api": server.api, "proxy": "llm", "toxic": "new"}
    )


def test_a_proxy_moves_and_keeps_its_toxics(client: Toxiproxy) -> None:
    """Another upstream, then another port; both read back."""
    toxic = Toxic("slow", "latency", attributes={"latency": 5})
    made = client.create_proxy("llm", "127.0.0.1:0", UP, (toxic,))
    assert client.update_proxy("llm", upstream="127.0.0.1:10") == replace(made, upstream="127.0.0.1:10")
    moved = client.update_proxy("llm", listen="127.0.0.1:0")
    assert (moved.listen != made.listen, moved.enabled, moved.upstream) == (True, True, "127.0.0.1:10")
    assert [each.name for each in moved.toxics] == ["slow"]
    with pytest.raises(ProxyMissingError):
        client.update_proxy("no", upstream=UP)


def test_populate_says_when_it_left_something_as_it_was(server: Any, client: Toxiproxy) -> None:
    """New proxies come back with their ports; one that stays enabled although asked not to be is an error."""
    wanted = [ProxyState("a", "127.0.0.1:0", UP, True), ProxyState("b", "127.0.0.1:0", UP, False)]
    found = client.populate(wanted)
    assert {name: state.enabled for name, state in found.items()} == {"a": True, "b": False}
    assert found == client.proxies()
    assert client.populate([found["a"]]) == {"a": found["a"]}
    with pytest.raises(FaultProxyError, match=r"populate with .*'a'.* reads back"):
        client.populate([replace(found["a"], enabled=False)])
    with pytest.raises(FaultProxyError, match="address already in use") as caught:
        client.populate([ProxyState("c", server.api.removeprefix("http://"), UP, True)])
    assert caught.value.status == 500
    with pytest.raises(ValueError, match="use create_proxy for d"):
        client.populate([ProxyState("d", "127.0.0.1:0", UP, True, (Toxic("slow", "latency"),))])


def test_a_server_that_is_restarted_has_forgotten(start_server: Any, kind: str) -> None:
    """Gone while it is away, then there without proxies: missing, which undoing treats as done."""
    server = start_server(kind)
    client = Toxiproxy(server.api, timeout_s=3.0)
    client.create_proxy("llm", "127.0.0.1:0", UP, (Toxic("slow", "latency"),))
    record = {"do": "remove_toxic", "api": server.api, "proxy": "llm", "toxic": "slow"}
    server.process.kill()
    server.process.wait(10)
    with pytest.raises(ProxyGoneError, match="is the fault proxy running"):
        client.remove_toxic("llm", "slow")
    assert "is gone, and its faults with it" in perform(record)
    again = start_server(kind, port=server.address[1])
    assert again.api == server.api
    with pytest.raises(ProxyMissingError, match="proxy not found"):
        client.remove_toxic("llm", "slow")
    assert perform(record) == "proxy llm is gone, and slow with it"


def test_a_server_that_stands_still_is_hung_and_not_gone(start_server: Any, kind: str) -> None:
    """Its port still takes connections, so every call ends with its time, and undoing is an error."""
    server = start_server(kind)
    client = Toxiproxy(server.api, timeout_s=0.3)
    client.create_proxy("llm", "127.0.0.1:0", UP)
    server.process.send_signal(signal.SIGSTOP)
    until(lambda: server.usage.status() == psutil.STATUS_STOPPED, "it does not stand still")
    with pytest.raises(ProxyHungError, match=r"no answer within 0\.3 s; .*stopped or overloaded"):
        client.set_enabled("llm", False)
    with pytest.raises(FaultProxyError, match=r"no answer within 0\.3 s"):
        perform({"do": "enable", "api": server.api, "proxy": "llm"}, timeout_s=0.3)
    server.process.send_signal(signal.SIGCONT)
