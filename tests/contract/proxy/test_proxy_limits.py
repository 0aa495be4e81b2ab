"""The built-in proxy at its limits: descriptors, memory, many connections, upstreams that never answer."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clocks import until
from tests.fault_proxies import fault_proxy
from tests.tcp import read

pytestmark = pytest.mark.slow

Connect = Callable[[tuple[str, int]], socket.socket]
Start = Callable[[Callable[[socket.socket], None]], str]


def cpu_s(proxy: Any, seconds: float) -> float:
    """Processor time that the proxy uses in that time."""
    before = proxy.usage.cpu_times()
    time.sleep(seconds)
    after = proxy.usage.cpu_times()
    return float(after.user + after.system - before.user - before.system)


def answers(client: socket.socket, limit_s: float) -> bool:
    """Whether an echo comes back in that time."""
    client.settimeout(limit_s)
    try:
        return client.recv(1) == b"x"
    except TimeoutError:
        return False


def test_without_descriptors_a_proxy_waits_and_its_api_does_not(
    tmp_path: Path, echo: str, connect: Connect
) -> None:
    """It takes as many connections as it can, says so, idles, and takes the next when one ends."""
    with fault_proxy(tmp_path, descriptors=90) as proxy:
        address = proxy.proxy(echo)
        clients = [connect(address) for _ in range(20)]
        for client in clients:
            client.sendall(b"x")
        room = int(proxy.metric("descriptors_limit")) // 2
        assert room < 20
        assert all(answers(client, 5) for client in clients[:room])
        assert not answers(clients[room], 0.2)
        assert cpu_s(proxy, 0.5) < 0.25
        assert proxy.ask("GET", "/proxies").status_code == 200
        for index in range(room, 20):
            clients[index - room].close()
            assert answers(clients[index], 5)
        assert proxy.metric("descriptors_used") == 2 * room
        log = proxy.log.read_text()
        assert log.count("takes no more connections") == 1
        assert "ulimit -n" in log


def test_a_full_table_ends_neither_proxy_nor_api(tmp_path: Path, echo: str, connect: Connect) -> None:
    """Idle API clients take the last descriptor: nobody spins, and all goes on when they are gone."""
    with fault_proxy(tmp_path, descriptors=90) as proxy:
        address = proxy.proxy(echo)
        host, _, port = proxy.api.removeprefix("http://").rpartition(":")
        idle = [connect((host, int(port))) for _ in range(100)]
        until(lambda: proxy.usage.num_fds() >= 90, "the table is not full")
        client = connect(address)
        client.sendall(b"x")
        assert not answers(client, 0.3)
        assert cpu_s(proxy, 1.0) < 0.5
        for each in idle:
            each.close()
        assert answers(client, 10)
        assert proxy.ask("GET", "/version").status_code == 200


def test_a_thousand_connections_at_once(builtin: Any, echo: str, connect: Connect) -> None:
    """Each gets its own bytes back; when they are gone, nothing of them is left."""
    address = builtin.proxy(echo)
    clients = [connect(address) for _ in range(1_000)]
    for index, client in enumerate(clients):
        client.sendall(f"{index:08}".encode())
    for index, client in enumerate(clients):
        assert client.read(8) == f"{index:08}".encode()
    assert builtin.metric("connections_open", proxy="p") == 1_000
    for client in clients:
        client.close()
    until(lambda: builtin.metric("connections_open", proxy="p") == 0, "some are left")
    assert builtin.metric("descriptors_used") == 0


def flood(size: int) -> Callable[[socket.socket], None]:
    """A server that sends so many bytes, each block another, and closes."""
    block = bytes(range(256)) * 256

    def serve(connection: socket.socket) -> None:
        for _ in range(size // len(block)):
            connection.sendall(block)
        connection.close()

    return serve


def read_flood(client: socket.socket) -> int:
    """How many bytes came until the end; they must be the flood's."""
    total = 0
    while data := client.recv(1 << 20):
        assert data[0] == total % 256
        total += len(data)
        assert data[-1] == (total - 1) % 256
    return total


def test_readers_that_stand_still_hold_little(tmp_path: Path, upstream: Start, connect: Connect) -> None:
    """Twenty readers of 32 MB each that read nothing cost the proxy far less than a megabyte each."""
    size = 32 * 1024 * 1024
    with fault_proxy(tmp_path) as proxy:
        address = proxy.proxy(upstream(flood(size)))
        before = proxy.usage.memory_info().rss
        clients = [connect(address) for _ in range(20)]
        time.sleep(1.5)
        grown = proxy.usage.memory_info().rss - before
        assert grown < 20 * 700 * 1024 + 16 * 1024 * 1024
        for client in clients:
            assert read_flood(client) == size


def test_a_delay_before_a_reader_that_stands_still_is_counted_and_bounded(
    builtin: Any, upstream: Start, connect: Connect
) -> None:
    """A latency keeps at most its room, also when its time has come and nobody reads; nothing is lost."""
    size = 64 * 1024 * 1024
    address = builtin.proxy(upstream(flood(size)))
    builtin.toxic("latency", name="latency", latency=300)
    client = connect(address)
    time.sleep(1.0)
    held = builtin.metric("held_bytes")
    assert 1024 * 1024 < held < 34 * 1024 * 1024
    assert read_flood(client) == size
    until(lambda: builtin.metric("held_bytes") == 0, "held bytes are left")


def is_cut(client: socket.socket) -> bool:
    """Whether nobody is there: a kernel may drop a handshake whose port closes, and only a byte tells."""
    try:
        try:
            return client.recv(1) == b""
        except TimeoutError:
            client.sendall(b"x")
            return client.recv(1) == b""
    except (ConnectionResetError, BrokenPipeError):
        return True


def test_connections_that_come_while_a_proxy_closes_do_not_stay(builtin: Any, echo: str) -> None:
    """Whoever connects in the same instant as it is disabled is cut like all others."""
    address = builtin.proxy(echo, listen="127.45.0.1:0")  # no outgoing connection takes its port
    clients: list[socket.socket] = []
    stop = threading.Event()

    def hammer() -> None:
        while not stop.is_set():
            client = socket.socket()
            client.settimeout(10)
            try:
                client.connect(address)
            except OSError:
                client.close()
            else:
                clients.append(client)
            time.sleep(0.002)

    threads = [threading.Thread(target=hammer, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        builtin.client.set_enabled("p", False)
        builtin.client.set_enabled("p", True)
    builtin.client.set_enabled("p", False)
    stop.set()
    for thread in threads:
        thread.join()
    assert clients, "nobody got through"
    until(lambda: builtin.metric("connections_open", proxy="p") == 0, "some are open")
    assert builtin.metric("descriptors_used") == 0
    for client in clients:
        assert is_cut(client)
        client.close()


def test_an_upstream_that_never_answers_holds_up_nobody_else(
    builtin: Any, echo: str, connect: Connect
) -> None:
    """A dial that hangs keeps its own client waiting, and that client goes with its proxy."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    filling = []
    for _ in range(3):
        each = socket.socket()
        each.setblocking(False)
        each.connect_ex(full.getsockname())
        filling.append(each)
    hanging = builtin.proxy(f"127.0.0.1:{full.getsockname()[1]}", "hanging")
    fine = builtin.proxy(echo, "fine")
    waiting = [connect(hanging) for _ in range(20)]
    for client in waiting:
        client.sendall(b"x" * 1000)
    client = connect(fine)
    client.sendall(b"ping")
    assert client.read(4) == b"ping"
    waiting[0].settimeout(0.3)
    with pytest.raises(TimeoutError):
        waiting[0].recv(1)
    builtin.client.delete_proxy("hanging")
    for client in waiting:
        client.settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
    until(lambda: builtin.metric("descriptors_used") == 2, "descriptors are left")
    for each in (*filling, full):
        each.close()


def test_a_client_that_stops_sending_still_gets_its_answer(
    builtin: Any, upstream: Start, connect: Connect
) -> None:
    """Half-close passes each way, through toxics, also when it comes before the upstream is reached."""

    def serve(connection: socket.socket) -> None:
        asked = read(connection)
        connection.sendall(asked[::-1])
        connection.close()

    address = builtin.proxy(upstream(serve))
    for toxics in ((), ("latency",), ("latency", "slicer")):
        for name in toxics:
            if name not in builtin.client.toxics("p"):
                more = {"latency": 30} if name == "latency" else {"average_size": 10, "delay": 10}
                builtin.toxic(name, name=name, **more)
        client = connect(address)
        client.sendall(b"abc" * 100)
        client.shutdown(socket.SHUT_WR)
        assert client.read() == b"cba" * 100


def test_a_reset_reaches_connections_that_were_there_before(
    builtin: Any, echo: str, connect: Connect
) -> None:
    """Toxiproxy ends those with FIN; here they are reset, and the evidence says how many bytes that cost."""
    address = builtin.proxy(echo)
    client = connect(address)
    client.sendall(b"x")
    assert client.read(1) == b"x"
    before = builtin.client.evidence(0, 5_000).records
    builtin.toxic("reset_peer", name="reset_peer", timeout=0)
    client.sendall(b"lost")
    with pytest.raises(ConnectionResetError):
        client.read()
    after = before[-1].seq if before else 0
    until(lambda: builtin.client.evidence(after).records != (), "no evidence")
    (strike,) = builtin.client.evidence(after).records[0].faults
    assert (strike.type, strike.bytes, strike.note) == ("reset_peer", 4, "dropped, then reset")


@pytest.mark.parametrize(
    ("type_", "attributes", "said"),
    [
        ("bandwidth", {"rate": -1}, "at least 1 KB/s, not -1"),
        ("bandwidth", {}, "at least 1 KB/s, not 0"),
        ("slicer", {}, "average_size must be at least 1 byte, not 0"),
        ("slicer", {"average_size": 10, "size_variation": 10}, "not 10 with average_size 10"),
        ("slicer", {"average_size": 10, "size_variation": -1}, "not -1 with average_size 10"),
        ("latency", {"latncy": 1}, "has no attribute 'latncy'; allowed: latency, jitter"),
        ("noop", {"x": 1}, "allowed: none"),
        ("latency_distribution", {"distribution": "gamma"}, "one of constant, uniform"),
        ("latency_distribution", {"distribution": 1}, "cannot unmarshal number"),
        ("latency", {"latency": 2**63}, "of type int64"),
    ],
)
def test_what_no_toxic_can_do_is_refused_and_nothing_is_in(
    builtin: Any, type_: str, attributes: dict[str, Any], said: str
) -> None:
    """What would kill Toxiproxy, or mean nothing, gets 400 with the value and what is allowed."""
    builtin.proxy("127.0.0.1:9")
    answer = builtin.ask("POST", "/proxies/p/toxics", {"type": type_, "attributes": attributes})
    assert answer.status_code == 400
    assert said in answer.json()["error"]
    assert builtin.client.toxics("p") == {}


@pytest.mark.parametrize("attributes", [{"latency": -5, "jitter": -5}, {"latency": 2**62, "jitter": 2**62}])
def test_numbers_beyond_sense_harm_nobody(
    builtin: Any, echo: str, connect: Connect, attributes: dict[str, int]
) -> None:
    """A delay below nothing is none, one of an eternity lasts until it is removed; the proxy goes on."""
    address = builtin.proxy(echo)
    builtin.toxic("latency", name="latency", **attributes)
    client = connect(address)
    client.sendall(b"ping")
    builtin.client.remove_toxic("p", "latency")
    assert client.read(4) == b"ping"


def test_a_name_with_a_slash_is_reached_by_its_code(builtin: Any, echo: str) -> None:
    """Toxiproxy makes such a proxy and never finds it again; `%2F` finds it here. `..` is refused."""
    builtin.proxy(echo, "a/b")
    assert builtin.ask("POST", "/proxies/a%2Fb/toxics", {"type": "noop", "name": "c/d"}).status_code == 200
    assert builtin.ask("GET", "/proxies/a%2Fb/toxics/c%2Fd").json()["name"] == "c/d"
    assert builtin.ask("DELETE", "/proxies/a%2Fb/toxics/c%2Fd").status_code == 204
    for path, body in (
        ("/proxies", {"name": "..", "upstream": "127.0.0.1:9"}),
        ("/proxies/a%2Fb/toxics", {"type": "noop", "name": "."}),
    ):
        answer = builtin.ask("POST", path, body)
        assert answer.status_code == 400
        assert "no path leads to it" in answer.json()["error"]
    assert builtin.ask("DELETE", "/proxies/a%2Fb").status_code == 204


def test_what_a_cut_connection_still_sends_is_not_read_for_ever(
    builtin: Any, upstream: Callable[..., str], connect: Connect
) -> None:
    """Behind a limit that is reached, a slow_close keeps the connection open; its upstream has to wait."""

    def serve(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"x" * 65536)

    address = builtin.proxy(upstream(serve))
    builtin.toxic("limit_data", bytes=100)
    builtin.toxic("slow_close", delay=60_000)
    client = connect(address)
    assert len(client.recv(100)) == 100
    time.sleep(0.3)
    read_bytes = builtin.metric("received_bytes_total", proxy="p", **{"from": "upstream"})
    assert 100 <= read_bytes < 1_000_000
    time.sleep(0.3)
    assert builtin.metric("received_bytes_total", proxy="p", **{"from": "upstream"}) == read_bytes
