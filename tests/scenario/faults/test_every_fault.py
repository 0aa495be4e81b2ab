"""Every fault of the catalogue: its effect at the client, its record, and its undoing, all under traffic.

The parts are real: the vector DB with its index, and the model server's simulator, with the built-in proxy in
front of both. `cases.py` says how a client sees each kind; one without a case fails a unit test.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from chaos.clock import SystemClock
from chaos.control.builtin_proxy import BuiltinProxy, Record
from chaos.control.controls import Controls, controls_of
from chaos.control.fault_control import FaultControl
from chaos.faults import Fault, fault_kinds, parse_fault
from chaos.faults.over_time import Flap, OverTime
from chaos.run.journal import Journal, outstanding_undos, read
from chaos.safety.undo import perform
from chaos.stack.local import LocalStack
from chaos.stack.model_servers import simulator
from chaos.stack.part import wait_ready
from chaos.stack.ports import choose_ports
from chaos.stack.process import ProcessIdentity
from chaos.stack.proxy_choice import choose_proxy
from chaos.stack.wiring import PORTS, Wiring

from .cases import CASES, QUESTIONS, Case
from .eyes import Crowd, Seen, Traffic

HOME = Path(__file__).resolve().parents[3] / ".ragquake"


def _places(but: tuple[str, ...] = ()) -> list[Any]:
    """Each kind; those on answers at both their places."""
    kinds = fault_kinds()
    twice = [(kind, place) for kind in kinds for place in ("simulator", "proxy")]
    one_place = {"bytes": "proxy", "requests": "proxy", "processes": "proxy", "simulator": "simulator"}
    found = [(kind, place) for kind, place in twice if one_place.get(kinds[kind].needs, place) == place]
    return [pytest.param(each, id="-".join(each)) for each in found if each[0] not in but]


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

    def shows(self, whole: Callable[[Seen], Seen]) -> Callable[[Seen], bool]:
        """Whether an answer shows the fault, and nothing else."""
        case = self.case
        return lambda seen: (
            case.effect(seen, whole(seen)) and (seen.says == whole(seen).says) is not case.spoils
        )


@contextmanager
def _on_one_core(part: ProcessIdentity) -> Iterator[None]:
    """The part and whatever this thread starts: hogs then take what the part needs, however many cores."""
    everywhere = os.sched_getaffinity(0)
    threads = [0, *(int(thread.name) for thread in Path(f"/proc/{part.pid}/task").iterdir())]
    for thread in threads:
        os.sched_setaffinity(thread, {min(everywhere)})
    try:
        yield
    finally:
        for thread in threads:
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.sched_setaffinity(thread, everywhere)


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
    questions = tuple(replace(one.larger(case.times), closes=case.closes) for one in QUESTIONS[case.on])
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
        if fault.kind == "cpu_hog":
            open_now.enter_context(_on_one_core(bench.at.processes.of(case.on)))
        open_now.enter_context(socket.create_connection(("127.0.0.1", traffic.port)))  # somebody in no hurry
        began_s = time.monotonic()
        control.inject("mine")
        in_s = time.monotonic()
        open_now.enter_context(Crowd(bench.part, case.crowd))
        traffic.wait_for(bench.shows(whole), 4, began_s if fault.kind == "restart" else in_s)
        out_s = time.monotonic()
        control.remove("mine")
    gone_s = time.monotonic()
    traffic.wait_for(lambda seen: seen.says == whole(seen).says, 4, gone_s)
    if fault.kind != "memory_pressure":  # which nobody sees while there is memory left
        traffic.wait_for(lambda seen: not case.effect(seen, whole(seen)), 4, gone_s)
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


ONE_OF_EACH_PLACE = (
    ("bandwidth", "proxy"),
    ("http_error", "proxy"),
    ("truncate", "proxy"),
    ("truncate", "simulator"),
    ("slow_startup", "simulator"),
    ("pause", "proxy"),
)

TURN_S = {"pause": 4.0}
"""Long enough that a client who meets it loses patience within it."""


@pytest.mark.slow
@pytest.mark.parametrize("bench", ONE_OF_EACH_PLACE, indirect=True, ids="-".join)
def test_a_fault_flaps_wherever_it_acts(bench: Bench) -> None:
    """It is felt in each of its turns and not between them, and each turn has its own account."""
    whole, traffic, turn_s = bench.whole(), bench.traffic, TURN_S.get(bench.fault.kind, 2.0)
    flapping = replace(bench, fault=bench.fault.over(OverTime(flap=Flap(turn_s, turn_s))))
    control, began_s = flapping.control(), time.monotonic()
    control.switch_to(["mine"])
    while time.monotonic() < began_s + 3.5 * turn_s:
        control.tick()
        time.sleep(0.05)
    control.switch_to(())
    unix_s = time.time() - time.monotonic()
    journal = [(entry["at_s"] - unix_s, entry) for entry in read(bench.journal)]
    ins = [at_s for at_s, entry in journal if entry["event"] == "fault.verified"]
    outs = [(at_s, entry["observed"]) for at_s, entry in journal if entry["event"] == "fault.removed"]
    assert len(ins) == len(outs) == 2
    for in_s, (out_s, observed) in zip(ins, outs, strict=True):
        met = [one for one in traffic.since(in_s) if one.at_s + one.over_s <= out_s]
        assert any(map(bench.shows(whole), met)), met
        assert observed.get("hits", 0) > 0 or observed.get("bit") is True
    between = [one for one in traffic.since(outs[0][0]) if one.at_s + one.over_s <= ins[1]]
    assert any(one.says == whole(one).says for one in between), between
    assert outstanding_undos(read(bench.journal)) == []


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
