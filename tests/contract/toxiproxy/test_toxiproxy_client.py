"""The client, the faults and the undo records, each against both servers."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from chaos.controls import Controls
from chaos.faults import parse_fault
from chaos.toxiproxy import FaultProxyError, ProxyGoneError, ProxyMissingError, Toxic, Toxiproxy
from chaos.undo import perform

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


def test_a_process_that_is_gone_is_told_from_one_that_hangs() -> None:
    """Nobody listening is its own error: then there is no fault left."""
    with pytest.raises(ProxyGoneError, match="nobody listens"):
        Toxiproxy("http://127.0.0.1:1").version()


def test_a_toxic_is_removed_although_a_client_does_not_read(
    server: Any, upstream: Callable[[Callable[[socket.socket], None]], str]
) -> None:
    """Toxiproxy's DELETE hangs then; the proxy is made anew with its address and its other toxics."""

    def serve(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"x" * 65536)

    client = Toxiproxy(server.api, timeout_s=1.0)
    toxics = (Toxic("kept", "noop", "upstream"), Toxic("slow", "latency", attributes={"latency": 20}))
    state = client.create_proxy("llm", "127.0.0.1:0", upstream(serve), toxics)
    host, _, port = state.listen.rpartition(":")
    with socket.create_connection((host, int(port))):
        time.sleep(0.3)
        started_s = time.perf_counter()
        client.remove_toxic("llm", "slow")
        assert time.perf_counter() - started_s < 5
    after = client.proxy("llm")
    assert (after.listen, after.upstream, after.enabled) == (state.listen, state.upstream, True)
    assert [toxic.name for toxic in after.toxics] == ["kept"]
