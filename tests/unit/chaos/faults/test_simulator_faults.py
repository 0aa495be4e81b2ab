"""Faults that the simulated model server commits: told by name, read back, counted, and refused elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chaos.control.controls import Controls
from chaos.control.fault_proxy import FaultProxyError
from chaos.experiment import BUNDLED, load_experiment
from chaos.experiment.needs import require_possible
from chaos.faults import fault_kinds, parse_fault
from chaos.faults.simulator_fault import SimulatorFault
from rag_service.model_server.fault_set import parse_fault as simulators_own
from rag_service.model_server.faults import fault_kinds as simulators_kinds
from slo.documents import DocumentError

PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "abort": {"after_tokens": 3},
    "context_overflow": {},
    "cut": {"after_tokens": 3},
    "malformed_chunk": {"after_tokens": 3},
    "rate_limited": {"retry_after": "1500ms"},
    "slow_first_token": {"delay": "2s"},
    "slow_startup": {"lasts": "20s"},
    "slow_tokens": {"delay": "100ms"},
    "stall": {"after_tokens": 0},
    "truncate": {"after_tokens": 3},
    "unavailable": {},
}


class SimulatorInMemory:
    """The calls of `SimulatorFaults`, on the simulator's own parsing."""

    address = "127.0.0.1:1"

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {}

    def put(self, name: str, fault: Mapping[str, Any]) -> Mapping[str, Any]:
        self.held[name] = simulators_own(dict(fault)).model_dump() | {"name": name, "hits": 0}
        return self.held[name]

    def get(self, name: str) -> Mapping[str, Any] | None:
        return self.held.get(name)

    def remove(self, name: str) -> Mapping[str, Any] | None:
        return self.held.pop(name, None)


@pytest.fixture
def simulator() -> SimulatorInMemory:
    return SimulatorInMemory()


def controls(simulator: SimulatorInMemory | None) -> Controls:
    return Controls(None, simulator=simulator)  # type: ignore[arg-type]


def test_every_fault_of_the_simulator_can_be_named_but_the_crash() -> None:
    """A run ends when a part dies, so dying is no fault of this kind."""
    named = {kind for kind, fault in fault_kinds().items() if issubclass(fault, SimulatorFault)}
    assert named == set(PARAMETERS) == set(simulators_kinds()) - {"crash"}


@pytest.mark.parametrize("kind", PARAMETERS)
def test_each_is_taken_by_the_simulator_read_back_and_removed(
    kind: str, simulator: SimulatorInMemory
) -> None:
    """What the experiment says is what the simulator has, and nothing of it is left."""
    raw = {"on": "llm", "kind": kind, "probability": "50%", "count": 7, **PARAMETERS[kind]}
    fault, at = parse_fault("it", raw), controls(simulator)
    fault.inject(at, "it")
    read = fault.read_back(at, "it")
    assert (read["kind"], read["probability"], read["count"]) == (kind, 0.5, 7)
    simulator.held["it"]["hits"] = 4
    assert not fault.is_gone(at, "it")
    assert fault.undo(at, "it") == {
        "do": "remove_simulator_fault",
        "address": simulator.address,
        "fault": "it",
    }
    assert fault.remove(at, "it") == {"hits": 4}
    assert fault.is_gone(at, "it") and not simulator.held
    assert fault.expects() == {"segment": "generate", "hits": True}
    for label in ("Looks like", "Bit when", "Undone"):
        assert type(fault).told(label), f"{kind} does not say {label!r}"


def test_another_fault_under_its_name_is_not_taken_for_it(simulator: SimulatorInMemory) -> None:
    """Reading back compares every parameter."""
    at = controls(simulator)
    parse_fault("it", {"on": "llm", "kind": "stall", "after_tokens": 3}).inject(at, "it")
    with pytest.raises(FaultProxyError, match="after_tokens"):
        parse_fault("it", {"on": "llm", "kind": "stall", "after_tokens": 4}).read_back(at, "it")
    with pytest.raises(FaultProxyError, match="no such fault"):
        parse_fault("other", {"on": "llm", "kind": "unavailable"}).read_back(at, "other")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"on": "vector_db", "kind": "stall", "after_tokens": 1}, "llm"),
        ({"on": "llm", "kind": "stall"}, "after_tokens"),
        ({"on": "llm", "kind": "stall", "after_tokens": -1}, "after_tokens"),
        ({"on": "llm", "kind": "stall", "after_tokens": 1, "probability": "0%"}, "probability"),
        ({"on": "llm", "kind": "unavailable", "count": 0}, "count"),
        ({"on": "llm", "kind": "slow_tokens", "delay": "1h"}, "delay|out of bounds"),
        ({"on": "llm", "kind": "rate_limited", "retry_after_s": 1}, "retry_after"),
    ],
)
def test_bad_parameters_are_refused_before_anything_starts(raw: dict[str, Any], said: str) -> None:
    """With the parameter at fault."""
    with pytest.raises(ValueError, match=said):
        parse_fault("it", raw)


def test_nobody_else_can_commit_them(tmp_path: Path) -> None:
    """What only the simulator knows is refused elsewhere before it starts; bytes can be hurt anywhere."""
    text = (BUNDLED / "smoke.yaml").read_text()
    file = tmp_path / "loading.yaml"
    wanted = "slow-vector-db: {on: llm, kind: slow_startup, lasts: 5s}"
    file.write_text(
        text.replace("slow-vector-db: {on: vector_db, kind: latency, latency: 2s, jitter: 200ms}", wanted)
    )
    loading, smoke = load_experiment(file), load_experiment(BUNDLED / "smoke.yaml")
    require_possible(loading, "local", "simulator")
    require_possible(smoke, "compose", "vllm")
    for stack, llm in (("local", "vllm"), ("local", "http://127.0.0.1:8000"), ("compose", "simulator")):
        with pytest.raises(DocumentError) as refused:
            require_possible(loading, stack, llm)
        assert "slow_startup is committed by the simulated model server" in str(refused.value)
    with pytest.raises(FaultProxyError, match="--llm simulator"):
        loading.faults["slow-vector-db"].inject(controls(None), "slow-vector-db")
