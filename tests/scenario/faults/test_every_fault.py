"""Every fault of the catalogue: its effect at the client, its record, and its undoing, all under traffic.

The parts are real: the vector DB with its index, and the model server's simulator, with the built-in proxy in
front of both. A kind that has no case here fails the first test, which needs no process.
"""

from __future__ import annotations

import json
import shutil
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from chaos.builtin_proxy import BuiltinProxy, Record
from chaos.clock import SystemClock
from chaos.controls import Controls, controls_of
from chaos.fault_control import FaultControl
from chaos.faults import Fault, fault_kinds, parse_fault
from chaos.journal import Journal, outstanding_undos, read
from chaos.stack.local import LocalStack
from chaos.stack.model_servers import simulator
from chaos.stack.part import wait_ready
from chaos.stack.ports import choose_ports
from chaos.stack.proxy_choice import choose_proxy
from chaos.stack.wiring import PORTS, Wiring
from chaos.undo import perform

from .eyes import Crowd, Question, Seen, Traffic

HOME = Path(__file__).resolve().parents[3] / ".ragquake"
SEARCH = "/v1/collections/corpus/search"
QUESTIONS: Mapping[str, tuple[Question, ...]] = {
    "llm": (
        Question(
            "/v1/chat/completions",
            {
                "model": "tiny",
                "stream": True,
                "max_tokens": 12,
                "messages": [{"role": "user", "content": "How do I rename a file? " * 8}],
            },
        ),
    ),
    "vector_db": tuple(
        Question(SEARCH, {"vectors": [[round(sign * 0.001 * n, 6) for n in range(384)]], "k": 3})
        for sign in (1, -1)
    ),
}

Effect = Callable[[Seen, Seen], bool]
"""What a client sees, and what it would have seen without the fault."""


@dataclass(frozen=True, slots=True)
class Case:
    """A fault of one kind, and how a client sees it."""

    on: str
    effect: Effect
    raw: Mapping[str, Any] = field(default_factory=dict)
    spoils: bool = True
    """An answer that shows it is another one; else it says the same, only later or in other pieces."""
    closes: bool = False
    """The clients ask for a connection that ends behind its answer."""
    crowd: int = 0
    """So many others want connections to the part while it is in, and keep them open."""


def _is(outcome: str) -> Effect:
    return lambda seen, _: seen.outcome == outcome


def _status(code: int) -> Effect:
    return lambda seen, _: seen.status == code


def _fails(seen: Seen, _: Seen) -> bool:
    return seen.outcome != "whole" or seen.status == 502


def _hits(seen: Seen) -> list[Any]:
    return list(seen.json["results"][0])


def _shuffled(seen: Seen, whole: Seen) -> bool:
    names, scores = ([hit[key] for hit in _hits(seen)] for key in ("id", "score"))
    of_whole, scores_of_whole = ([hit[key] for hit in _hits(whole)] for key in ("id", "score"))
    return names != of_whole and sorted(names) == sorted(of_whole) and scores == scores_of_whole


def _stale(seen: Seen, whole: Seen) -> bool:
    return seen.status == 200 and _hits(seen) != _hits(whole)


AFTER_THREE = {"after_tokens": 3}
CASES: Mapping[str, Case] = {
    "abort": Case("llm", lambda seen, _: seen.finish == "abort" and seen.is_done, AFTER_THREE),
    "bandwidth": Case("llm", lambda seen, _: seen.over_s > len(seen.body) / 6_000, {"rate": 5}, spoils=False),
    "context_overflow": Case("llm", _status(400)),
    "cpu_hog": Case(
        "llm", lambda seen, whole: seen.over_s > 2 * whole.over_s, {"workers": 8, "above": 10}, False
    ),
    "cut": Case("llm", lambda seen, _: seen.outcome == "broken off" and len(seen.token_s) == 3, AFTER_THREE),
    "done_after_abort": Case(
        "llm",
        lambda seen, _: seen.finish == "error" and seen.is_done,
        {**AFTER_THREE, "finish_reason": "error"},
    ),
    "down": Case("vector_db", _is("refused")),
    "empty_results": Case("vector_db", lambda seen, _: seen.status == 200 and _hits(seen) == []),
    "file_descriptors": Case("llm", _fails, {"leave": 0}, crowd=12),
    "http_error": Case(
        "vector_db",
        lambda seen, _: seen.status == 429 and seen.retry_after == "2",
        {"status": 429, "retry_after": "1500ms"},
    ),
    "kill": Case("llm", _fails),
    "latency": Case("llm", lambda seen, _: (seen.head_s or 0.0) >= 0.6, {"latency": "600ms"}, spoils=False),
    "limit_data": Case("llm", _is("broken off"), {"bytes": 700}),
    "malformed_chunk": Case("llm", lambda seen, _: seen.unreadable == 1 and seen.is_done, AFTER_THREE),
    "malformed_json": Case("vector_db", lambda seen, _: seen.status == 200 and seen.json is None),
    "memory_pressure": Case("llm", lambda seen, whole: seen.says == whole.says, {"mib": 64}, spoils=False),
    "pause": Case("llm", _is("silent")),
    "rate_limited": Case(
        "llm", lambda seen, _: seen.status == 429 and seen.retry_after == "2", {"retry_after": "1500ms"}
    ),
    "reset": Case("llm", _is("reset")),
    "restart": Case("llm", _fails, {"grace": "1s"}),
    "shuffled_results": Case("vector_db", _shuffled),
    "slicer": Case(
        "llm",
        lambda seen, whole: seen.reads > 3 * whole.reads,
        {"average_size": 16, "size_variation": 8, "delay": "1ms"},
        spoils=False,
    ),
    "slow_body": Case(
        "vector_db",
        lambda seen, _: bool(seen.body_s and seen.head_s) and seen.body_s - seen.head_s >= 0.5,
        {"delay": "600ms"},
        spoils=False,
    ),
    "slow_close": Case(
        "llm",
        lambda seen, _: seen.over_s - (seen.whole_s or seen.over_s) >= 0.5,
        {"delay": "600ms"},
        spoils=False,
        closes=True,
    ),
    "slow_first_token": Case(
        "llm", lambda seen, _: bool(seen.token_s) and seen.token_s[0] >= 0.6, {"delay": "600ms"}, spoils=False
    ),
    "slow_startup": Case(
        "llm", lambda seen, _: seen.status == 503 and b"Loading" in seen.body, {"lasts": "60s"}
    ),
    "slow_tokens": Case(
        "llm",
        lambda seen, _: bool(seen.token_s) and seen.token_s[-1] - seen.token_s[0] >= 0.6,
        {"delay": "70ms"},
        spoils=False,
    ),
    "stale_results": Case("vector_db", _stale, {"behind": 1}),
    "stall": Case("llm", lambda seen, _: seen.outcome == "silent" and len(seen.token_s) == 3, AFTER_THREE),
    "timeout": Case("vector_db", _is("silent")),
    "truncate": Case(
        "llm",
        lambda seen, _: seen.outcome == "whole" and not seen.is_done and len(seen.token_s) == 3,
        AFTER_THREE,
    ),
    "unavailable": Case("llm", _status(503)),
    "wrong_dimension": Case("vector_db", _status(422)),
}


def _places(but: tuple[str, ...] = ()) -> list[Any]:
    """Each kind; those on answers at both their places."""
    kinds = fault_kinds()
    twice = [(kind, place) for kind in kinds for place in ("simulator", "proxy")]
    one_place = {"bytes": "proxy", "requests": "proxy", "processes": "proxy", "simulator": "simulator"}
    found = [(kind, place) for kind, place in twice if one_place.get(kinds[kind].needs, place) == place]
    return [pytest.param(each, id="-".join(each)) for each in found if each[0] not in but]


def test_every_kind_has_a_case() -> None:
    """A fault that nobody has shown is not in the catalogue: say in CASES how a client sees it."""
    assert set(CASES) == set(fault_kinds())


class Dependencies(LocalStack):
    """The vector DB, the simulator and the built-in proxy of a local stack; no service."""

    def _start(self) -> None:
        wiring = Wiring(
            ports=choose_ports(PORTS, {}),
            index_dir=self._index_dir,
            model_server=self._model_server,
            evidence=self.evidence,
        )
        database = self._spawn("vector_db", wiring.vector_db_command(), wiring, "/healthz")
        parts = [database, *self._start_model_server(wiring)]
        self._proxies.start(wiring)
        wait_ready(parts, SystemClock())


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dependencies]:
    folder = tmp_path_factory.mktemp("every-fault")
    shutil.copytree(HOME / "index", folder / "index")  # the vector DB writes beside what it reads
    with Dependencies(
        folder=folder,
        index_dir=folder / "index",
        proxy=choose_proxy({"RAGQUAKE_PROXY": "builtin"}, HOME),
        on_requests=True,
        model_server=simulator({"model": "tiny"}),
        home=folder,
        environment={},
    ) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Bench:
    """One kind of fault at one place, its journal, and the traffic that meets it."""

    case: Case
    fault: Fault
    at: Controls
    traffic: Traffic
    journal: Path
    part: tuple[str, int]

    def control(self) -> FaultControl:
        return FaultControl({"mine": self.fault}, self.at, Journal(self.journal))

    def fact(self, event: str, key: str) -> Mapping[str, Any]:
        return next(
            (entry.get(key, {}) for entry in reversed(read(self.journal)) if entry["event"] == event), {}
        )

    def whole(self) -> Callable[[Seen], Seen]:
        """What the same question got before, with the usual time."""
        before = self.traffic.wait_for(_answered, 6, 0.0)
        usual = replace(before[0], over_s=statistics.median(one.over_s for one in before))
        first = {one.question.path + json.dumps(one.question.body): one for one in before}
        assert len(first) == len(QUESTIONS[self.case.on])
        return lambda seen: replace(
            first[seen.question.path + json.dumps(seen.question.body)], over_s=usual.over_s, reads=usual.reads
        )


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def _answered(seen: Seen) -> bool:
    return (seen.outcome, seen.status) == ("whole", 200)


@pytest.fixture
def bench(request: pytest.FixtureRequest, stack: Dependencies, tmp_path: Path) -> Iterator[Bench]:
    kind, place = request.param
    case = CASES[kind]
    fault = parse_fault("mine", {"on": case.on, "kind": kind, **case.raw})
    at = controls_of(stack)
    at = replace(at, simulator=None) if place == "proxy" else at
    reached = stack.description.dependencies[case.on]
    questions = tuple(replace(one, closes=case.closes) for one in QUESTIONS[case.on])
    journal = tmp_path / "journal.jsonl"
    with Traffic(_address(reached.listen)[1], questions) as traffic:
        try:
            yield Bench(case, fault, at, traffic, journal, _address(reached.upstream))
        finally:
            for left in outstanding_undos(read(journal)) if journal.exists() else ():
                perform(left.undo)


@pytest.mark.slow
@pytest.mark.parametrize("bench", _places(), indirect=True)
def test_a_fault_is_felt_told_and_undone_under_traffic(bench: Bench) -> None:
    """Clients see it and nothing else; the record says that it bit; then each gets what it got before."""
    case, fault, traffic, control = bench.case, bench.fault, bench.traffic, bench.control()
    whole = bench.whole()
    evidence = _Evidence(bench.at)
    control.check()
    with ExitStack() as open_now:
        open_now.enter_context(socket.create_connection(("127.0.0.1", traffic.port)))  # somebody in no hurry
        began_s = time.monotonic()
        control.inject("mine")
        in_s = time.monotonic()
        open_now.enter_context(Crowd(bench.part, case.crowd))
        shown = traffic.wait_for(
            lambda seen: case.effect(seen, whole(seen)), 4, began_s if fault.kind == "restart" else in_s
        )
        out_s = time.monotonic()
        control.remove("mine")
    gone_s = time.monotonic()
    traffic.wait_for(lambda seen: seen.says == whole(seen).says, 4, gone_s)
    if fault.kind != "memory_pressure":  # which nobody sees while there is memory left
        traffic.wait_for(lambda seen: not case.effect(seen, whole(seen)), 4, gone_s)
        assert all((seen.says == whole(seen).says) is not case.spoils for seen in shown), shown
    _require_told(bench, evidence, [one for one in traffic.since(in_s) if one.at_s + one.over_s < out_s])
    assert fault.is_gone(bench.at, "mine") and outstanding_undos(read(bench.journal)) == []


class _Evidence:
    """What the proxy tells from now on."""

    def __init__(self, at: Controls) -> None:
        assert isinstance(at.proxy, BuiltinProxy)
        self._proxy = at.proxy
        self._after = 0
        self.news()

    def news(self) -> list[Record]:
        found: list[Record] = []
        while records := self._proxy.evidence(self._after).records:
            self._after = records[-1].seq
            found += records
        return found


def _require_told(bench: Bench, evidence: _Evidence, met: list[Seen]) -> None:
    """The journal has it read back and out again; whoever acted says what was done, as `expects` claims."""
    fault, observed = bench.fault, bench.fact("fault.removed", "observed")
    assert bench.fact("fault.verified", "read_back")
    expects = dict(fault.expects() or {})
    assert expects.pop("segment"), "nobody could tell whether it bit"
    [claim] = expects
    if claim == "hits":
        assert observed["hits"] >= 3
    elif claim == "evidence":
        assert observed["bit"] is True
    elif claim in ("errors", "held"):
        failed = [seen for seen in met if not _answered(seen)]
        assert len(failed) >= 0.8 * len(met) > 0
    if fault.needs == "processes" or bench.at.simulator is not None:
        assert observed
        return
    strikes = [(strike, one) for one in evidence.news() for strike in one.faults]
    told = [one for strike, one in strikes if strike.name in ("mine", fault.kind)]
    assert told and all((one.request is None) is (fault.needs == "bytes") for one in told)


@pytest.mark.slow
@pytest.mark.parametrize("bench", _places(but=("kill", "restart")), indirect=True)
def test_a_record_alone_undoes_it_under_traffic(bench: Bench) -> None:
    """As the warden and a rollback do it, twice without harm; but only the run itself starts a part again."""
    whole, control = bench.whole(), bench.control()
    control.inject("mine")
    [outstanding] = outstanding_undos(read(bench.journal))
    perform(outstanding.undo)
    perform(outstanding.undo)
    gone_s = time.monotonic()
    assert bench.fault.is_gone(bench.at, "mine")
    bench.traffic.wait_for(lambda seen: seen.says == whole(seen).says, 4, gone_s)
    if bench.fault.needs == "processes":
        control.remove("mine")  # its hogs are still on the books


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind, one in fault_kinds().items() if one.needs != "processes"])
def test_what_nobody_met_is_not_said_to_have_bitten(kind: str, stack: Dependencies, tmp_path: Path) -> None:
    """The negative control: in and out again without traffic, nothing is counted and nothing was felt."""
    case = CASES[kind]
    fault = parse_fault("mine", {"on": case.on, "kind": kind, **case.raw})
    with Journal(tmp_path / "journal.jsonl") as journal:
        control = FaultControl({"mine": fault}, controls_of(stack), journal)
        control.inject("mine")
        control.remove("mine")
    observed = next(
        entry.get("observed", {}) for entry in read(journal.path) if entry["event"] == "fault.removed"
    )
    assert observed.get("hits", 0) == 0 and not observed.get("bit", False)
