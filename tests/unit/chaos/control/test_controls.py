"""The doors through which faults go in: one server for all dependencies, or one for each."""

from __future__ import annotations

import pytest

from chaos.control.builtin_proxy import BuiltinProxy, Lease
from chaos.control.controls import Controls, Door, Several
from chaos.control.fault_proxy import FaultProxyError
from chaos.control.toxiproxy import Toxiproxy
from chaos.faults import parse_fault

TOXIPROXY = Toxiproxy("http://127.0.0.1:1")
BUILTIN = BuiltinProxy("http://127.0.0.1:2", lease="run")
TARGET = Controls(
    None, doors={"vector_db": Door(TOXIPROXY, "pgvector"), "llm": Door(BUILTIN, "llm", BUILTIN)}
)


def test_one_server_has_a_proxy_of_each_dependencys_name() -> None:
    """As on the stacks that a run starts itself."""
    door = Controls(TOXIPROXY, requests=BUILTIN).door("llm")
    assert (door.proxy, door.name, door.requests) == (TOXIPROXY, "llm", BUILTIN)


def test_a_target_has_a_proxy_of_its_own_for_each_dependency() -> None:
    """A fault's undo names that server and that proxy, so whoever undoes it later finds them."""
    slow = parse_fault("slow", {"on": "vector_db", "kind": "latency", "latency": "1s"})
    assert slow.undo(TARGET, "slow") == {
        "do": "remove_toxic",
        "api": "http://127.0.0.1:1",
        "proxy": "pgvector",
        "toxic": "slow",
    }
    down = parse_fault("down", {"on": "llm", "kind": "down"})
    assert down.undo(TARGET, "down") == {"do": "enable", "api": "http://127.0.0.1:2", "proxy": "llm"}


def test_what_a_proxy_cannot_do_is_refused_by_its_own_kind() -> None:
    """One dependency's built-in proxy does not lend its abilities to another one's Toxiproxy."""
    errors = {"kind": "http_error", "status": 503}
    parse_fault("e", {"on": "llm", **errors}).check(TARGET)
    with pytest.raises(FaultProxyError, match="reads requests"):
        parse_fault("e", {"on": "vector_db", **errors}).check(TARGET)
    skewed = {"kind": "latency", "latency": {"pareto": ["1s", 1.5]}}
    parse_fault("s", {"on": "llm", **skewed}).check(TARGET)
    with pytest.raises(FaultProxyError, match="no such toxic"):
        parse_fault("s", {"on": "vector_db", **skewed}).check(TARGET)


def test_without_a_proxy_there_is_no_door() -> None:
    """And what to do about it."""
    with pytest.raises(FaultProxyError, match="target file"):
        Controls(None, doors={}).door("llm")
    with pytest.raises(FaultProxyError, match="no proxy stands before it"):
        Controls(None).door("llm")


class Held(BuiltinProxy):
    """A proxy that only keeps leases."""

    def __init__(self, renewed: bool = True, refuses: bool = False) -> None:
        super().__init__("http://127.0.0.1:3")
        self.renewed, self.refuses, self.ended = renewed, refuses, False

    def put_lease(self, name: str, ttl_s: float) -> Lease:
        return Lease(name, ttl_s, ttl_s, self.renewed)

    def end_lease(self, name: str) -> None:
        self.ended = True
        if self.refuses:
            raise FaultProxyError("end the lease", name, status=404)


def test_a_lease_on_several_proxies_holds_while_each_of_them_holds_it() -> None:
    """One that had ended means that faults were out; ending goes to all, whoever refuses."""
    assert Several((Held(), Held())).put_lease("run", 10).renewed
    assert not Several((Held(), Held(renewed=False))).put_lease("run", 10).renewed
    lost, last = Held(refuses=True), Held()
    with pytest.raises(FaultProxyError, match="run"):
        Several((lost, last)).end_lease("run")
    assert last.ended


def test_leases_are_held_where_there_is_a_builtin_proxy() -> None:
    """Toxiproxy knows none."""
    assert Controls(TOXIPROXY).builtin is None
    assert Controls(None, doors={"vector_db": Door(TOXIPROXY, "v")}).builtin is None
    held = TARGET.builtin
    assert isinstance(held, Several)
    assert [proxy.api for proxy in held.proxies] == ["http://127.0.0.1:2"]
