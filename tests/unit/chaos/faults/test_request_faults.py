"""Faults on requests: as the proxy gets them, read back, counted, undone; and where those on answers go."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chaos.control.builtin_proxy import HttpFaultSpec
from chaos.control.controls import Controls
from chaos.control.fault_proxy import FaultProxyError, ProxyMissingError
from chaos.experiment import BUNDLED, LoadedExperiment, load_experiment
from chaos.experiment.needs import act_on_requests, require_possible, used_faults
from chaos.faults import fault_kinds, parse_fault
from chaos.faults.answer_fault import AnswerFault
from chaos.faults.request_fault import RequestFault
from chaos.proxy.http.fault_set import HttpFaults
from chaos.proxy.http.faults import http_fault_kinds
from chaos.proxy.http.routes import read_spec
from chaos.stack.errors import StackError
from chaos.stack.opening import open_stack
from rag_service.model_server.fault_set import parse_fault as simulators_own
from slo.documents import DocumentError

REQUESTS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "done_after_abort": (
        {"on": "llm", "after_tokens": 2, "finish_reason": ""},
        {"after_tokens": 2, "finish_reason": ""},
    ),
    "empty_results": ({"key": "result.points"}, {"key": "result.points"}),
    "http_error": ({"status": 502, "retry_after": "1500ms"}, {"status": 502, "retry_after_s": 1.5}),
    "malformed_json": ({"how": "garbled"}, {"how": "garbled"}),
    "shuffled_results": ({}, {"key": "results"}),
    "slow_body": ({"delay": "2s", "bytes_per_s": 10}, {"delay_s": 2.0, "bytes_per_s": 10.0}),
    "stale_results": ({"behind": 3}, {"behind": 3}),
    "wrong_dimension": ({}, {"key": "vectors"}),
}
ANSWERS: Mapping[str, tuple[Mapping[str, Any], str, Mapping[str, Any]]] = {
    "abort": ({"after_tokens": 3}, "done_after_abort", {"after_tokens": 3, "finish_reason": "abort"}),
    "cut": ({"after_tokens": 3}, "cut", {"after_tokens": 3, "how": "close"}),
    "malformed_chunk": ({"after_tokens": 3}, "malformed_chunk", {"after_tokens": 3}),
    "slow_first_token": ({"delay": "2s"}, "slow_first_token", {"delay_s": 2.0}),
    "slow_tokens": ({"delay": "100ms"}, "slow_tokens", {"delay_s": 0.1}),
    "stall": ({"after_tokens": 0}, "stall", {"after_tokens": 0}),
    "truncate": ({"after_tokens": 3}, "truncate", {"after_tokens": 3}),
    "context_overflow": ({}, "http_error", {"status": 400}),
    "rate_limited": ({"retry_after": "2s"}, "http_error", {"status": 429, "retry_after_s": 2.0}),
    "unavailable": ({}, "http_error", {"status": 503}),
}


class ProxyInMemory:
    """The calls of `BuiltinProxy` on one proxy, with the proxy's own parsing and its own set of faults."""

    api = "http://127.0.0.1:1"

    def __init__(self) -> None:
        self.faults = HttpFaults(random.Random(1), lambda: 0.0)

    def add_http_fault(self, _: str, fault: HttpFaultSpec) -> HttpFaultSpec:
        self.faults.add(read_spec(json.dumps(fault.as_json()).encode()))
        return self.faults.specs[fault.name]

    def http_faults(self, _: str) -> dict[str, HttpFaultSpec]:
        return self.faults.specs

    def http_fault_hits(self, _: str, name: str) -> int:
        if name not in self.faults.specs:
            raise ProxyMissingError(f"GET {name}", "http fault not found", status=404)
        return int(self.faults.as_json(name)["hits"])

    def remove_http_fault(self, _: str, name: str) -> None:
        self.faults.remove(name)

    def strike(self, name: str, times: int) -> None:
        next(armed for armed in self.faults.armed if armed.name == name).hits += times


@pytest.fixture
def proxy() -> ProxyInMemory:
    return ProxyInMemory()


def controls(proxy: ProxyInMemory | None, simulator: object = None) -> Controls:
    return Controls(None, requests=proxy, simulator=simulator)  # type: ignore[arg-type]


def test_every_fault_of_the_proxy_can_be_named() -> None:
    """By a kind of its own, or as one on answers; and no kind asks the proxy for what it has not."""
    kinds = fault_kinds()
    own = {kind for kind, fault in kinds.items() if issubclass(fault, RequestFault)}
    on_answers = {kind for kind, fault in kinds.items() if issubclass(fault, AnswerFault)}
    assert (own, on_answers) == (set(REQUESTS), set(ANSWERS))
    assert own | {type_ for _, type_, _ in ANSWERS.values()} == set(http_fault_kinds())


def _raw(kind: str) -> tuple[dict[str, Any], str, Mapping[str, Any]]:
    given, type_, attributes = (
        ANSWERS[kind] if kind in ANSWERS else (REQUESTS[kind][0], kind, REQUESTS[kind][1])
    )
    on = "llm" if kind in ANSWERS else "vector_db"
    return {"on": on, "kind": kind, "probability": "50%", "count": 7, **given}, type_, attributes


@pytest.mark.parametrize("kind", [*REQUESTS, *ANSWERS])
def test_each_is_taken_by_the_proxy_read_back_counted_and_removed(kind: str, proxy: ProxyInMemory) -> None:
    """What the experiment says is what the proxy has, and nothing of it is left."""
    raw, type_, attributes = _raw(kind)
    fault, at = parse_fault("it", raw), controls(proxy)
    fault.check(at)
    fault.inject(at, "it")
    held = proxy.faults.specs["it"]
    assert (held.type, held.probability, held.count) == (type_, 0.5, 7)
    assert {key: held.attributes[key] for key in attributes} == attributes
    read = fault.read_back(at, "it")
    assert (read["http_fault"], read["probability"], read["count"]) == (type_, 0.5, 7)
    proxy.strike("it", 4)
    assert not fault.is_gone(at, "it")
    assert fault.undo(at, "it") == {
        "do": "remove_http_fault",
        "api": proxy.api,
        "proxy": fault.on,
        "fault": "it",
    }
    assert fault.remove(at, "it") == {"hits": 4}
    assert fault.is_gone(at, "it") and fault.remove(at, "it") is None
    assert fault.expects() == {"segment": fault.segment, "hits": True}
    assert all(isinstance(value, int | float | str) for value in fault.parameters().values())
    for label in ("Looks like", "Bit when", "Undone"):
        assert type(fault).told(label), f"{kind} does not say {label!r}"


def test_a_fault_strikes_where_it_was_told_to(proxy: ProxyInMemory) -> None:
    """Path and method go along, and are read back."""
    raw = {"on": "vector_db", "kind": "http_error", "path": "/v1/search*", "method": "POST"}
    fault, at = parse_fault("it", raw), controls(proxy)
    fault.inject(at, "it")
    assert (proxy.faults.specs["it"].path, proxy.faults.specs["it"].method) == ("/v1/search*", "POST")
    assert fault.read_back(at, "it")["path"] == "/v1/search*"
    assert fault.parameters()["path"] == "/v1/search*"
    assert "path" not in parse_fault("it", {"on": "llm", "kind": "http_error"}).parameters()


def test_another_fault_under_its_name_is_not_taken_for_it(proxy: ProxyInMemory) -> None:
    """Reading back compares type, place and every attribute."""
    at = controls(proxy)
    parse_fault("it", {"on": "llm", "kind": "http_error", "status": 500}).inject(at, "it")
    for other in (
        {"kind": "http_error"},
        {"kind": "http_error", "status": 500, "path": "/v1/*"},
        {"kind": "malformed_json"},
    ):
        with pytest.raises(FaultProxyError, match="in is"):
            parse_fault("it", {"on": "llm", **other}).read_back(at, "it")
    with pytest.raises(FaultProxyError, match="no such fault"):
        parse_fault("other", {"on": "llm", "kind": "http_error"}).read_back(at, "other")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"on": "llm", "kind": "empty_results"}, "vector_db"),
        ({"on": "vector_db", "kind": "done_after_abort", "after_tokens": 1}, "llm"),
        ({"on": "llm", "kind": "http_error", "status": 200}, "status"),
        ({"on": "llm", "kind": "http_error", "path": "v1"}, "path"),
        ({"on": "llm", "kind": "http_error", "method": "post"}, "method"),
        ({"on": "llm", "kind": "http_error", "probability": "0%"}, "probability"),
        ({"on": "llm", "kind": "slow_body"}, "slow_body needs delay"),
        ({"on": "llm", "kind": "slow_body", "bytes_per_s": 0}, "bytes_per_s"),
        ({"on": "vector_db", "kind": "stale_results", "behind": 0}, "behind"),
        ({"on": "vector_db", "kind": "malformed_json", "how": "rot13"}, "how"),
        ({"on": "vector_db", "kind": "http_error", "attributes": {}}, "attributes"),
    ],
)
def test_bad_parameters_are_refused_before_anything_starts(raw: dict[str, Any], said: str) -> None:
    """With the parameter at fault."""
    with pytest.raises(ValueError, match=said):
        parse_fault("it", raw)


@pytest.mark.parametrize("kind", ["rate_limited", "unavailable", "context_overflow"])
def test_a_refusal_is_worded_alike_in_both_places(kind: str, proxy: ProxyInMemory) -> None:
    """A client cannot tell whether the simulator refused, or the proxy before another model server."""
    own = simulators_own({"kind": kind}).refusal()
    assert own is not None
    parse_fault("it", {"on": "llm", "kind": kind}).inject(controls(proxy), "it")
    held = proxy.faults.specs["it"]
    assert (held.attributes["status"], json.loads(held.attributes["body"])) == (own.code, own.body())
    assert [armed for armed in proxy.faults.armed if armed.spec.path == "/v1/*completions"]


def test_where_the_simulator_answers_it_commits_them_itself(proxy: ProxyInMemory) -> None:
    """The proxy's requests are left alone, even where somebody reads them."""

    class Simulator:
        address = "127.0.0.1:1"

        def __init__(self) -> None:
            self.held: dict[str, Any] = {}

        def put(self, name: str, fault: Mapping[str, Any]) -> None:
            self.held[name] = fault

    simulator = Simulator()
    at = controls(proxy, simulator)
    fault = parse_fault("it", {"on": "llm", "kind": "stall", "after_tokens": 3})
    fault.check(at)
    fault.inject(at, "it")
    assert simulator.held["it"]["kind"] == "stall" and not proxy.faults.specs
    assert fault.undo(at, "it")["do"] == "remove_simulator_fault"


def test_where_nobody_reads_requests_they_are_refused() -> None:
    """Before the load begins, with what to do; what the simulator alone can do says so."""
    for kind in [*REQUESTS, *ANSWERS]:
        with pytest.raises(FaultProxyError, match="--stack local"):
            parse_fault("it", _raw(kind)[0]).check(controls(None))
    with pytest.raises(FaultProxyError, match="--llm simulator"):
        parse_fault("it", {"on": "llm", "kind": "slow_startup", "lasts": "1s"}).check(
            controls(ProxyInMemory())
        )


def _experiment(tmp_path: Path, fault: str) -> LoadedExperiment:
    text = (BUNDLED / "smoke.yaml").read_text()
    old = "slow-vector-db: {on: vector_db, kind: latency, latency: 2s, jitter: 200ms}"
    assert old in text
    file = tmp_path / "it.yaml"
    file.write_text(text.replace(old, f"slow-vector-db: {fault}"))
    return load_experiment(file)


def test_the_further_proxy_is_there_only_for_who_needs_it(tmp_path: Path) -> None:
    """Faults on answers need it before other model servers, those on requests always, others never."""
    broken = _experiment(tmp_path, "{on: vector_db, kind: http_error}")
    silent = _experiment(tmp_path, "{on: llm, kind: stall, after_tokens: 5}")
    smoke = load_experiment(BUNDLED / "smoke.yaml")
    needed = {
        llm: [act_on_requests(one, llm) for one in (broken, silent, smoke)] for llm in ("simulator", "vllm")
    }
    assert needed == {"simulator": [True, False, False], "vllm": [True, True, False]}
    broken.path.write_text(broken.path.read_text().replace("faults: [slow-vector-db]", "faults: []"))
    unused = load_experiment(broken.path)
    assert unused.faults and not used_faults(unused) and not act_on_requests(unused, "simulator")


def test_containers_are_refused_with_what_to_do(tmp_path: Path) -> None:
    """Before them stands Toxiproxy alone."""
    for fault in ("{on: vector_db, kind: http_error}", "{on: llm, kind: stall, after_tokens: 5}"):
        loaded = _experiment(tmp_path, fault)
        require_possible(loaded, "local", "http://127.0.0.1:8000")
        with pytest.raises(DocumentError, match="--stack local"):
            require_possible(loaded, "compose", "vllm")
    with pytest.raises(StackError, match="--stack local"):
        open_stack("compose", folder=tmp_path, state=tmp_path, on_requests=True)
