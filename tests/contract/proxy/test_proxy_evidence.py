"""Evidence and metrics over real sockets: what was done to whom, when, how much."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaos.control.builtin_proxy import BuiltinProxy, Page, Record
from tests.clocks import until
from tests.fault_proxies import fault_proxy

pytestmark = pytest.mark.slow

Connect = Callable[[tuple[str, int]], socket.socket]


def records_of(client: BuiltinProxy, proxy: str, after: int = 0) -> list[Record]:
    return [record for record in client.evidence(after).records if record.proxy == proxy]


def last_seq(client: BuiltinProxy) -> int:
    page: Page = client.evidence(0, 5_000)
    return page.records[-1].seq if page.records else 0


def test_a_struck_connection_leaves_one_record_when_it_is_over(
    builtin: Any, echo: str, connect: Connect
) -> None:
    """Which toxics, how many bytes, how long, from when to when; a toxic that did nothing is not named."""
    address = builtin.proxy(echo)
    builtin.toxic("latency", name="latency", latency=80)
    builtin.toxic("limit_data", name="limit_data", bytes=1_000_000)
    began_s = time.time()
    client = connect(address)
    client.sendall(b"x" * 500)
    assert client.read(500) == b"x" * 500
    assert records_of(builtin.client, "p", last_seq(builtin.client)) == []
    before = last_seq(builtin.client)
    client.close()
    until(lambda: records_of(builtin.client, "p", before) != [], "no record came")
    (record,) = records_of(builtin.client, "p", before)
    (strike,) = record.faults
    assert (strike.name, strike.type, strike.bytes) == ("latency", "latency", 500)
    assert 0.079 <= strike.delay_s < 1
    assert (record.request, record.method, record.path, record.status) == (None, None, None, None)
    assert strike.first_s is not None
    assert strike.last_s is not None
    assert (
        began_s - 0.1 <= record.at_s <= strike.first_s <= strike.last_s <= record.end_s <= time.time() + 0.1
    )
    assert strike.last_s - strike.first_s >= 0.079


def test_a_toxic_that_leaves_a_living_connection_tells_at_once(
    builtin: Any, echo: str, connect: Connect
) -> None:
    """A pool keeps its connections for hours; what struck them must not be told then."""
    address = builtin.proxy(echo, "pool")
    client = connect(address)
    client.sendall(b"before")
    client.read(6)
    builtin.toxic("latency", name="latency", proxy="pool", latency=30)
    client.sendall(b"during")
    client.read(6)
    before = last_seq(builtin.client)
    assert builtin.metric("struck_total", proxy="pool", type="latency") == 1
    builtin.client.remove_toxic("pool", "latency")
    (record,) = records_of(builtin.client, "pool", before)
    assert [(strike.type, strike.bytes) for strike in record.faults] == [("latency", 6)]
    assert builtin.metric("struck_total", proxy="pool", type="latency") == 1
    client.sendall(b"after")
    client.read(5)
    client.close()
    until(lambda: builtin.metric("connections_open", proxy="pool") == 0, "it is still open")
    assert len(records_of(builtin.client, "pool", before)) == 1


def test_a_proxy_that_goes_down_names_each_connection_that_it_cut(
    builtin: Any, echo: str, connect: Connect
) -> None:
    """Disabling is a fault with evidence; deleting is not."""
    address = builtin.proxy(echo)
    clients = [connect(address) for _ in range(3)]
    for client in clients:
        client.sendall(b"x")
        client.read(1)
    before = last_seq(builtin.client)
    builtin.client.set_enabled("p", False)
    until(lambda: len(records_of(builtin.client, "p", before)) == 3, "not all were told")
    records = records_of(builtin.client, "p", before)
    assert {strike.type for record in records for strike in record.faults} == {"down"}
    assert len({record.connection for record in records}) == 3
    builtin.client.set_enabled("p", True)
    another = connect(address)
    another.sendall(b"x")
    another.read(1)
    builtin.client.delete_proxy("p")
    assert another.read() == b""
    assert len(records_of(builtin.client, "p", before)) == 3


def test_a_connection_that_nothing_touched_leaves_no_record(
    builtin: Any, echo: str, connect: Connect
) -> None:
    """The negative control: no toxic, or one that toxicity spares, no evidence."""
    address = builtin.proxy(echo)
    body = {"type": "latency", "toxicity": 0, "attributes": {"latency": 500}}
    assert builtin.ask("POST", "/proxies/p/toxics", body).status_code == 200
    before = last_seq(builtin.client)
    client = connect(address)
    client.sendall(b"ping")
    client.read(4)
    client.close()
    until(lambda: builtin.metric("connections_open", proxy="p") == 0, "it is still open")
    assert records_of(builtin.client, "p", before) == []


def test_the_file_has_the_same_records_within_a_second(tmp_path: Path, echo: str, connect: Connect) -> None:
    """JSON lines, appended to what there was, written while the proxy runs and when it ends."""
    path = tmp_path / "faults.jsonl"
    path.write_text('{"before": true}\n')
    with fault_proxy(tmp_path, "--evidence", str(path)) as proxy:
        address = proxy.proxy(echo)
        proxy.toxic("latency", name="latency", latency=50)
        for _ in range(3):
            client = connect(address)
            client.sendall(b"x")
            client.read(1)
            client.close()
        until(lambda: len(proxy.client.evidence().records) == 3, "no evidence")
        until(lambda: len(path.read_text().splitlines()) == 4, "the file is late", 5.0)
        last = connect(address)
        last.sendall(b"x")
        last.read(1)
        shown = proxy.ask("GET", "/evidence").json()["records"]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[1:4] == shown
    assert [line["seq"] for line in lines[1:]] == [1, 2, 3, 4], "the last is written when the proxy ends"


def test_evidence_is_read_in_pages(builtin: Any, echo: str, connect: Connect) -> None:
    """`after` goes on where a reader stopped; what cannot be asked for is refused with what can."""
    address = builtin.proxy(echo)
    builtin.toxic("latency", name="latency", latency=50)  # enough to bite on a busy machine
    before = last_seq(builtin.client)
    for _ in range(5):
        client = connect(address)
        client.sendall(b"x")
        client.read(1)
        client.close()
    until(lambda: len(records_of(builtin.client, "p", before)) == 5, "not all were told")
    first = builtin.client.evidence(before, 3)
    second = builtin.client.evidence(first.records[-1].seq, 3)
    assert [record.seq - before for record in (*first.records, *second.records)] == [1, 2, 3, 4, 5]
    assert first.dropped == 0
    for query in ("after=-1", "limit=0", "limit=5001", "afer=1", "after=x"):
        answer = builtin.ask("GET", f"/evidence?{query}")
        assert answer.status_code == 400
        assert "1" in answer.json()["error"]


def test_metrics_count_what_went_through(builtin: Any, echo: str, connect: Connect) -> None:
    """Connections and bytes each way, of the living and of the gone; toxics and leases that are in."""
    address = builtin.proxy(echo, 'odd"name\\')
    shown = {"proxy": 'odd\\"name\\\\'}
    client, other = connect(address), connect(address)
    for each in (client, other):
        each.sendall(b"x" * 1000)
        each.read(1000)
    other.close()
    until(lambda: builtin.metric("connections_open", **shown) == 1, "one is open")
    assert builtin.metric("connections_total", **shown) == 2
    assert builtin.metric("received_bytes_total", **shown, **{"from": "client"}) == 2000
    assert builtin.metric("received_bytes_total", **shown, **{"from": "upstream"}) == 2000
    builtin.client.put_lease("run", 10)
    assert builtin.metric("leases") == 1
    assert builtin.metric("event_loop_lag_seconds") < 5
    until(lambda: builtin.metric("descriptors_used") == 2, "descriptors are left")
    answer = builtin.ask("GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert builtin.metric("nothing_of_the_kind") == 0
