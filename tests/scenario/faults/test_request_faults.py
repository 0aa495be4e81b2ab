"""Faults on requests on a real Toxiproxy, with the built-in proxy and a real vector DB behind it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from chaos.clock import SystemClock
from chaos.control.builtin_proxy import BuiltinProxy
from chaos.control.controls import Controls, controls_of
from chaos.control.fault_control import FaultControl
from chaos.control.toxiproxy import Toxiproxy
from chaos.faults import parse_fault
from chaos.run.journal import Journal, OutstandingUndo, outstanding_undos, read
from chaos.safety.rollback import rollback
from chaos.safety.undo import perform
from chaos.stack.borrowed import BorrowedProxies
from chaos.stack.description import read_description
from chaos.stack.environment import child_environment
from chaos.stack.local import LocalStack
from chaos.stack.model_servers import simulator
from chaos.stack.part import Part, PartPlan, wait_ready
from chaos.stack.ports import choose_ports, reserve_port
from chaos.stack.process import ProcessIdentity, marked
from chaos.stack.proxy_choice import ProxyChoice, choose_proxy
from chaos.stack.wiring import DEPENDENCIES, PORTS, REQUESTS_PORTS, Wiring

pytestmark = pytest.mark.slow
HOME = Path(__file__).resolve().parents[3] / ".ragquake"
SERVER = HOME / "bin" / "toxiproxy-server"
SEARCH = "/v1/collections/corpus/search"
ASKED = {"vectors": [[round(0.001 * n, 6) for n in range(384)]], "k": 3}


class WithoutService(LocalStack):
    """The proxies and the vector DB of a local stack; nothing else is started."""

    def _start(self) -> None:
        wiring = Wiring(
            ports=choose_ports(PORTS + (REQUESTS_PORTS if self._proxies.are_chained else ()), {}),
            index_dir=self._index_dir,
            model_server=simulator(),
        )
        database = self._spawn("vector_db", wiring.vector_db_command(), wiring, "/healthz")
        self._proxies.start(wiring)
        wait_ready([database], SystemClock())

    @property
    def url(self) -> str:
        return f"http://{self.description.dependencies['vector_db'].listen}"

    def search(self) -> httpx.Response:
        with httpx.Client(base_url=self.url, timeout=10, trust_env=False) as client:
            return client.post(SEARCH, json=ASKED)


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, since the vector DB writes beside what it reads."""
    folder = tmp_path_factory.mktemp("index-copy") / "index"
    shutil.copytree(HOME / "index", folder)
    return folder


@pytest.fixture(scope="session")
def toxiproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Somebody else's Toxiproxy; its API's address."""
    folder = tmp_path_factory.mktemp("toxiproxy")
    api = f"http://127.0.0.1:{reserve_port()}"
    command = ProxyChoice("toxiproxy", "", (str(SERVER),)).command_on(
        "127.0.0.1", int(api.rpartition(":")[2])
    )
    server = Part.start(
        PartPlan("proxy", command, child_environment({}, str(folder)), api, f"{api}/version"), folder
    )
    try:
        wait_ready([server], SystemClock())
        yield api
    finally:
        server.stop()


def _stack(folder: Path, index: Path, choice: ProxyChoice) -> WithoutService:
    return WithoutService(
        folder=folder, index_dir=index, proxy=choice, on_requests=True, home=folder, environment={}
    )


CHAINED = ProxyChoice("toxiproxy", "a test", command=(str(SERVER),))
BUILTIN = choose_proxy({"RAGQUAKE_PROXY": "builtin"}, HOME)


@pytest.fixture(scope="module")
def chain(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WithoutService]:
    with _stack(tmp_path_factory.mktemp("chain"), index, CHAINED) as stack:
        yield stack


def _faults(at: Controls, folder: Path, **faults: dict[str, Any]) -> FaultControl:
    parsed = {name: parse_fault(name, {"on": "vector_db", **raw}) for name, raw in faults.items()}
    return FaultControl(parsed, at, Journal(folder / "journal.jsonl"))


def _observed(folder: Path) -> dict[str, Any]:
    removed = [entry for entry in read(folder / "journal.jsonl") if entry["event"] == "fault.removed"]
    return {entry["fault"]: entry.get("observed") for entry in removed}


def test_bytes_and_requests_are_disturbed_at_once_each_by_its_own_proxy(
    chain: WithoutService, tmp_path: Path
) -> None:
    """A toxic of Toxiproxy and an empty result of the proxy behind it add up, and go one by one."""
    whole = chain.search()
    assert whole.status_code == 200 and len(whole.json()["results"][0]) == 3
    control = _faults(
        controls_of(chain),
        tmp_path,
        late={"kind": "latency", "latency": "400ms"},
        empty={"kind": "empty_results", "path": "/v1/*"},
        broken={"kind": "http_error", "status": 502, "count": 2},
    )
    control.check()
    control.switch_to(("late", "empty"))
    began_s = time.monotonic()
    empty = chain.search()
    assert time.monotonic() - began_s >= 0.4
    assert empty.status_code == 200 and empty.json()["results"] == [[]]
    control.switch_to(("broken",))
    assert [chain.search().status_code for _ in range(3)] == [502, 502, 200]
    control.switch_to(())
    assert chain.search().json()["results"] == whole.json()["results"]
    assert _observed(tmp_path) == {"late": None, "empty": {"hits": 1}, "broken": {"hits": 2}}
    assert not outstanding_undos(read(tmp_path / "journal.jsonl"))


def test_the_vector_db_sees_what_the_proxy_makes_of_a_query(chain: WithoutService, tmp_path: Path) -> None:
    """Half a vector comes back as the database's own refusal."""
    control = _faults(controls_of(chain), tmp_path, other={"kind": "wrong_dimension"})
    control.switch_to(("other",))
    assert chain.search().status_code == 422
    control.switch_to(())
    assert chain.search().status_code == 200 and _observed(tmp_path) == {"other": {"hits": 1}}


def test_each_is_undone_by_its_record_alone_and_twice_without_harm(chain: WithoutService) -> None:
    """As the warden and a rollback do it."""
    at = controls_of(chain)
    fault = parse_fault("empty", {"on": "vector_db", "kind": "empty_results"})
    fault.inject(at, "empty")
    assert chain.search().json()["results"] == [[]]
    assert perform(fault.undo(at, "empty")).startswith("removed empty")
    assert chain.search().json()["results"] != [[]]
    assert "already gone" in perform(fault.undo(at, "empty"))


def test_the_chain_is_described_and_each_proxy_knows_the_next(chain: WithoutService) -> None:
    """stack.json names the further part, its API and where it listens for whom."""
    described = read_description(chain.stack_file)
    assert described is not None and described.requests_proxy is not None and described.proxy is not None
    assert described.proxy.kind == "toxiproxy" and described.requests_proxy.kind == "builtin"
    assert described.requests_proxy.owned and "requests_proxy" in described.living()
    bytes_, requests = Toxiproxy(described.proxy.api), BuiltinProxy(described.requests_proxy.api)
    for name in DEPENDENCIES:
        one = described.dependencies[name]
        assert (bytes_.proxy(name).listen, bytes_.proxy(name).upstream) == (one.listen, one.requests)
        assert (requests.proxy(name).listen, requests.proxy(name).upstream) == (one.requests, one.upstream)
        assert requests.proxy(name).http
    for name, identity in described.living().items():
        process = identity.process()
        assert process is not None
        listening = [c for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        assert listening and all(c.laddr.ip == "127.0.0.1" for c in listening), name


def test_the_built_in_proxy_needs_nobody_behind_it(index: Path, tmp_path: Path) -> None:
    """As the fault proxy it reads requests itself: no further part, one link less."""
    with _stack(tmp_path, index, BUILTIN) as stack:
        described = stack.description
        assert set(described.living()) == {"vector_db", "proxy"}
        assert described.requests_proxy is not None and described.proxy is not None
        assert described.requests_proxy.api == described.proxy.api
        control = _faults(controls_of(stack), tmp_path, empty={"kind": "empty_results"})
        control.switch_to(("empty",))
        assert stack.search().json()["results"] == [[]]
        control.switch_to(())
        assert stack.search().json()["results"] != [[]] and _observed(tmp_path) == {"empty": {"hits": 1}}
    assert not described.living() and marked(str(stack.stack_file)) == []


def test_without_a_fault_on_requests_nobody_reads_them(index: Path, tmp_path: Path) -> None:
    """The negative control: the same stack, not asked for them, has one link less and refuses the fault."""
    with WithoutService(
        folder=tmp_path, index_dir=index, proxy=CHAINED, home=tmp_path, environment={}
    ) as stack:
        assert set(stack.description.living()) == {"vector_db", "proxy"}
        assert stack.description.requests_proxy is None and controls_of(stack).requests is None
        assert all(one.requests is None for one in stack.description.dependencies.values())
        assert stack.search().status_code == 200


def test_a_borrowed_toxiproxy_gets_the_same_chain_and_keeps_nothing_of_it(
    index: Path, tmp_path: Path, toxiproxy: str
) -> None:
    """Our proxies on it lead to our own second proxy, and are gone when the stack is."""
    borrowed = ProxyChoice("toxiproxy", "a test", api=toxiproxy)
    with _stack(tmp_path, index, borrowed) as stack:
        assert set(stack.description.living()) == {"vector_db", "requests_proxy"}
        control = _faults(controls_of(stack), tmp_path, broken={"kind": "http_error"})
        control.switch_to(("broken",))
        assert stack.search().status_code == 503
        control.switch_to(())
        assert stack.search().status_code == 200
    assert Toxiproxy(toxiproxy).proxies() == {} and not stack.description.living()


def test_leftovers_of_a_killed_run_make_room_on_a_borrowed_toxiproxy(
    index: Path, tmp_path: Path, toxiproxy: str
) -> None:
    """They lead to a second proxy that is gone, and the note knows them by that."""
    stack = _stack(tmp_path, index, ProxyChoice("toxiproxy", "a test", api=toxiproxy)).start()
    for identity in stack.description.living().values():
        process = identity.process()
        assert process is not None
        process.kill()
        process.wait(10)
    assert set(Toxiproxy(toxiproxy).proxies()) == set(DEPENDENCIES)
    BorrowedProxies(tmp_path).make_room(Toxiproxy(toxiproxy), DEPENDENCIES)
    assert Toxiproxy(toxiproxy).proxies() == {}


@pytest.mark.parametrize("ends", [False, True], ids=["the proxy lives", "the proxy has ended"])
def test_a_rollback_undoes_what_the_second_proxy_holds(index: Path, tmp_path: Path, ends: bool) -> None:
    """By its API, or by knowing that it ended; then nothing of the stack is left."""
    stack = _stack(tmp_path, index, CHAINED).start()
    try:
        _faults(controls_of(stack), tmp_path, empty={"kind": "empty_results"}).switch_to(("empty",))
        (outstanding,) = outstanding_undos(read(tmp_path / "journal.jsonl"))
        assert isinstance(outstanding, OutstandingUndo) and outstanding.undo["do"] == "remove_http_fault"
        proxy: ProcessIdentity = stack.description.identities()["requests_proxy"]
        if ends:
            process = proxy.process()
            assert process is not None
            process.kill()
            process.wait(10)
        report = rollback(tmp_path)
        assert report.clean and [fault.fault for fault in report.faults] == ["empty"]
        assert ("has ended" if ends else "removed empty") in report.faults[0].message
        assert not stack.description.living() and not outstanding_undos(read(tmp_path / "journal.jsonl"))
    finally:
        stack.stop()
