"""What toxics do to bytes: the same on Toxiproxy and on the built-in proxy.

Lower bounds of time are tight, since a fault that is weaker than it says spoils a result; upper bounds
are loose, since the machine may be busy.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow

LATE_S = 1.0
"""How much later than asked still counts, on a busy machine."""
EARLY_S = 0.003
"""Timers of event loops count in milliseconds."""

Connect = Callable[..., Any]
Start = Callable[[Callable[[socket.socket], None]], str]


def random_bytes(size: int) -> bytes:
    return random.Random(7).randbytes(size)


def source_of(data: bytes) -> Callable[[socket.socket], None]:
    """A server that sends `data` and closes."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.close()

    return serve


@pytest.mark.parametrize("stream", ["downstream", "upstream"])
def test_latency_delays_an_answer(server: Any, echo: str, connect: Connect, stream: str) -> None:
    """An echo takes the latency more, whichever direction it is on."""
    client = connect(server.proxy(echo))
    assert client.round_trip_s() < LATE_S
    server.toxic("latency", stream, latency=200)
    assert 0.2 - EARLY_S <= client.round_trip_s() < 0.2 + LATE_S


def test_two_latencies_add(server: Any, echo: str, connect: Connect) -> None:
    """Latency on both directions counts twice."""
    address = server.proxy(echo)
    server.toxic("latency", latency=150)
    server.toxic("latency", "upstream", latency=150)
    assert 0.3 - 2 * EARLY_S <= connect(address).round_trip_s() < 0.3 + LATE_S


def test_two_latencies_on_one_direction(server: Any, upstream: Start, connect: Connect) -> None:
    """They add for what comes alone; on a steady stream, where chunks wait behind chunks, to less."""
    delays_s: list[float] = []

    def serve(connection: socket.socket) -> None:
        for number in range(8):
            while connection.recv(1) != bytes([number]):
                pass
            delays_s.append(time.perf_counter() - sent_s[number])

    client = connect(server.proxy(upstream(serve)))
    for name in ("a", "b"):
        body = {"type": "latency", "name": name, "stream": "upstream", "attributes": {"latency": 200}}
        assert server.ask("POST", "/proxies/p/toxics", body).status_code == 200
    sent_s: list[float] = []
    for number in range(8):
        sent_s.append(time.perf_counter())
        client.sendall(bytes([number]))
        time.sleep(0.05)
    until_s = time.perf_counter() + 5
    while len(delays_s) < 8 and time.perf_counter() < until_s:
        time.sleep(0.01)
    assert 0.4 - 2 * EARLY_S <= delays_s[0] < 0.4 + LATE_S
    assert 0.2 - 2 * EARLY_S <= delays_s[-1] < delays_s[0] - 0.05


def test_latency_does_not_add_up_over_chunks(server: Any, upstream: Start, connect: Connect) -> None:
    """A hundred chunks, one after another, arrive one latency later, in order."""

    def serve(connection: socket.socket) -> None:
        for index in range(100):
            connection.sendall(b"%04d" % index)
            time.sleep(0.002)
        connection.close()

    address = server.proxy(upstream(serve))
    server.toxic("latency", latency=200)
    started_s = time.perf_counter()
    got = connect(address).read()
    took_s = time.perf_counter() - started_s
    assert got == b"".join(b"%04d" % index for index in range(100))
    assert 0.4 - EARLY_S <= took_s < 0.4 + 2 * LATE_S


def test_jitter_stays_within_its_bounds(server: Any, echo: str, connect: Connect) -> None:
    """Delays lie within latency ± jitter, and differ."""
    client = connect(server.proxy(echo))
    server.toxic("latency", latency=50, jitter=40)
    taken_s = [client.round_trip_s() for _ in range(20)]
    assert min(taken_s) >= 0.01 - EARLY_S
    assert sorted(taken_s)[10] < 0.09 + LATE_S
    assert max(taken_s) - min(taken_s) > 0.01


def test_jitter_keeps_the_order(server: Any, echo: str, connect: Connect) -> None:
    """However delays fall, bytes stay in order."""
    client = connect(server.proxy(echo))
    server.toxic("latency", latency=10, jitter=10)
    for index in range(50):
        client.sendall(b"%04d" % index)
        time.sleep(0.001)
    assert client.read(200) == b"".join(b"%04d" % index for index in range(50))


def test_bandwidth_limits_the_rate(server: Any, upstream: Start, connect: Connect) -> None:
    """480 KB at 1000 KB/s take 480 ms."""
    address = server.proxy(upstream(source_of(random_bytes(480_000))))
    server.toxic("bandwidth", rate=1000)
    started_s = time.perf_counter()
    assert connect(address).read() == random_bytes(480_000)
    assert 0.47 <= time.perf_counter() - started_s < 0.48 + LATE_S


def test_documented_deviation_a_bandwidth_of_nothing(server: Any, echo: str, connect: Connect) -> None:
    """A rate of 0 holds everything back in Toxiproxy; the built-in proxy has `timeout` for that."""
    client = connect(server.proxy(echo))
    answer = server.ask("POST", "/proxies/p/toxics", {"type": "bandwidth", "attributes": {"rate": 0}})
    assert answer.status_code == (400 if server.is_builtin else 200)
    client.sendall(b"x")
    client.settimeout(5 if server.is_builtin else 0.5)
    if server.is_builtin:
        assert "use timeout to stop all data" in answer.json()["error"]
        assert client.recv(1) == b"x"
    else:
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_documented_deviation_a_slicer_as_various_as_large(
    server: Any, upstream: Start, connect: Connect
) -> None:
    """A variation as large as the average is safe in Toxiproxy, against its reputation; beyond, it dies."""
    data = random_bytes(300_000)
    address = server.proxy(upstream(source_of(data)))
    body = {"type": "slicer", "attributes": {"average_size": 100, "size_variation": 100}}
    added = server.ask("POST", "/proxies/p/toxics", body)
    assert added.status_code == (400 if server.is_builtin else 200)
    assert connect(address).read() == data


def test_bandwidth_sends_small_answers_at_their_own_pace(server: Any, echo: str, connect: Connect) -> None:
    """A hundred bytes at 1 KB/s take a tenth of a second."""
    client = connect(server.proxy(echo))
    server.toxic("bandwidth", rate=1)
    assert 0.1 - EARLY_S <= client.round_trip_s(b"x" * 100) < 0.1 + LATE_S


def test_slicer_cuts_small_pieces_and_loses_nothing(server: Any, upstream: Start, connect: Connect) -> None:
    """10,000 bytes in pieces of at most average + variation, spread over their delays."""
    data = random_bytes(10_000)
    address = server.proxy(upstream(source_of(data)))
    server.toxic("slicer", average_size=500, size_variation=100, delay=5_000)
    client = connect(address)
    started_s = time.perf_counter()
    pieces = []
    while piece := client.recv(65536):
        pieces.append(piece)
    took_s = time.perf_counter() - started_s
    assert b"".join(pieces) == data
    # A late reader finds several pieces at once, hence what is allowed beyond 10,000 / 600.
    assert len(pieces) >= 8
    assert sum(len(piece) > 600 for piece in pieces) <= len(pieces) / 2
    assert took_s >= (10_000 / 600 - 1) * 0.004


@pytest.mark.parametrize("limit", [100, 60_000])
def test_limit_data_cuts_at_the_byte(server: Any, upstream: Start, connect: Connect, limit: int) -> None:
    """Exactly `bytes` bytes arrive, then the end."""
    data = random_bytes(200_000)
    address = server.proxy(upstream(source_of(data)))
    server.toxic("limit_data", bytes=limit)
    client = connect(address)
    got = bytearray()
    with contextlib.suppress(ConnectionResetError):  # the proxy closed with bytes of the source unread
        while piece := client.recv(65536):
            got += piece
    assert bytes(got) == data[:limit]


def test_limit_data_counts_on_when_the_limit_changes(server: Any, echo: str, connect: Connect) -> None:
    """The count survives an update: 100 of 150 are gone, so 100 of 200 are left."""
    client = connect(server.proxy(echo))
    server.toxic("limit_data", bytes=150)
    client.round_trip_s(b"a" * 100)
    path = "/proxies/p/toxics/limit_data_downstream"
    assert server.ask("POST", path, {"attributes": {"bytes": 200}}).status_code == 200
    client.sendall(b"b" * 150)
    assert client.read() == b"b" * 100


def test_limit_zero_closes_at_the_first_byte(server: Any, echo: str, connect: Connect) -> None:
    """With no bytes allowed the connection ends when the first would pass."""
    address = server.proxy(echo)
    server.toxic("limit_data", bytes=0)
    client = connect(address)
    client.sendall(b"x")
    assert client.read() == b""


@pytest.mark.parametrize("limit", [100, 5000])
def test_limit_data_counts_what_a_client_says_at_once(
    server: Any, upstream: Start, connect: Connect, limit: int
) -> None:
    """Bytes that are there before the upstream is connected reach it up to the limit, and not fewer."""
    got: list[bytes] = []
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(65536):
                got.append(data)
        over.set()

    address = server.proxy(upstream(serve))
    server.toxic("limit_data", "upstream", bytes=limit)
    connect(address).sendall(b"x" * 10_000)
    assert over.wait(5)
    assert len(b"".join(got)) == limit


@pytest.mark.parametrize(
    ("kind", "attributes", "held_s"),
    [
        ("latency", {"latency": 200}, 0.2),
        ("bandwidth", {"rate": 1}, 0.15),
        ("slicer", {"average_size": 10, "delay": 10_000}, 0.15),
        ("slow_close", {"delay": 200}, 0.2),
    ],
)
def test_a_limit_ends_behind_what_it_let_pass(
    server: Any, echo: str, connect: Connect, kind: str, attributes: dict[str, int], held_s: float
) -> None:
    """The toxic behind limit_data hands on all it holds, in its own time, before the connection ends."""
    address = server.proxy(echo)
    server.toxic("limit_data", bytes=150)
    server.toxic(kind, **attributes)
    client = connect(address)
    started_s = time.perf_counter()
    client.sendall(b"x" * 300)
    assert client.read() == b"x" * 150
    assert held_s - EARLY_S <= time.perf_counter() - started_s < held_s + LATE_S


@pytest.mark.parametrize(("kind", "reset"), [("timeout", False), ("reset_peer", True)])
def test_a_slow_close_holds_back_every_end(
    server: Any, echo: str, connect: Connect, kind: str, reset: bool
) -> None:
    """What another toxic ends waits for the slow_close behind it, and is still a reset where it was one."""
    address = server.proxy(echo)
    server.toxic(kind, timeout=100)
    server.toxic("slow_close", delay=300)
    client = connect(address)
    started_s = time.perf_counter()
    client.sendall(b"x")
    with pytest.raises(ConnectionResetError) if reset else contextlib.nullcontext():
        assert client.read() == b""
    assert 0.4 - 2 * EARLY_S <= time.perf_counter() - started_s < 0.4 + LATE_S


def test_a_changed_slow_close_waits_anew(server: Any, upstream: Start, connect: Connect) -> None:
    """An end that is held when the delay changes is held for the new one."""
    address = server.proxy(upstream(source_of(b"x")))
    server.toxic("slow_close", delay=60_000)
    client = connect(address)
    assert client.read(1) == b"x"
    time.sleep(0.1)
    started_s = time.perf_counter()
    answer = server.ask("POST", "/proxies/p/toxics/slow_close_downstream", {"attributes": {"delay": 200}})
    assert answer.status_code == 200
    assert client.read() == b""
    assert 0.2 - EARLY_S <= time.perf_counter() - started_s < 0.2 + LATE_S


def test_timeout_closes_after_silence(server: Any, echo: str, connect: Connect) -> None:
    """Nothing comes back, and after the timeout the connection ends."""
    address = server.proxy(echo)
    server.toxic("timeout", timeout=200)
    client = connect(address)
    client.sendall(b"x")
    started_s = time.perf_counter()
    assert client.read() == b""
    assert 0.15 <= time.perf_counter() - started_s < 0.2 + LATE_S


def test_steady_traffic_keeps_a_timeout_open(server: Any, echo: str, connect: Connect) -> None:
    """The timer starts anew with every chunk, so a busy connection is never closed."""
    address = server.proxy(echo)
    server.toxic("timeout", timeout=400)
    client = connect(address)
    for _ in range(16):
        client.sendall(b"x")
        time.sleep(0.05)
    client.settimeout(0.05)
    with pytest.raises(TimeoutError):
        client.recv(1)


def test_timeout_zero_is_a_black_hole_until_removed(server: Any, echo: str, connect: Connect) -> None:
    """Nothing comes back and nothing closes; removing it closes the connection; new ones work."""
    address = server.proxy(echo)
    server.toxic("timeout", timeout=0)
    client = connect(address)
    client.sendall(b"x")
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.settimeout(5)
    server.untoxic("timeout_downstream")
    assert client.read() == b""
    connect(address).round_trip_s()


def test_reset_peer_resets_a_new_connection(server: Any, echo: str, connect: Connect) -> None:
    """The answer is dropped and the client gets ECONNRESET, after the time asked for."""
    address = server.proxy(echo)
    server.toxic("reset_peer", timeout=150)
    client = connect(address)
    started_s = time.perf_counter()
    client.sendall(b"x")
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert 0.15 - EARLY_S <= time.perf_counter() - started_s < 0.15 + LATE_S


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_reset_peer_takes_the_end_for_a_first_byte(
    server: Any, upstream: Start, connect: Connect, stream: str
) -> None:
    """A side that ends without a byte sets it off, too."""

    def serve(connection: socket.socket) -> None:
        if stream == "downstream":
            connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
        time.sleep(2)

    address = server.proxy(upstream(serve))
    server.toxic("reset_peer", stream, timeout=50)
    client = connect(address)
    if stream == "upstream":
        client.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_documented_deviation_reset_peer_on_an_open_connection(
    server: Any, echo: str, connect: Connect
) -> None:
    """A connection opened before gets a clean end from Toxiproxy, a reset from the built-in proxy."""
    client = connect(server.proxy(echo))
    client.round_trip_s()
    server.toxic("reset_peer")
    client.sendall(b"x")
    if server.kind == "builtin":
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    else:
        assert client.read() == b""


def test_slow_close_delays_only_the_end(server: Any, upstream: Start, connect: Connect) -> None:
    """The bytes come at once, the end `delay` later."""
    address = server.proxy(upstream(source_of(b"all of it")))
    server.toxic("slow_close", delay=300)
    client = connect(address)
    started_s = time.perf_counter()
    assert client.read(9) == b"all of it"
    arrived_s = time.perf_counter()
    assert client.recv(1) == b""
    assert time.perf_counter() - arrived_s >= 0.2
    assert time.perf_counter() - started_s < 0.3 + LATE_S


def test_a_slow_close_that_is_removed_closes_now(server: Any, upstream: Start, connect: Connect) -> None:
    """The end that was held passes with the toxic."""
    address = server.proxy(upstream(source_of(b"all of it")))
    server.toxic("slow_close", delay=8000)
    client = connect(address)
    started_s = time.perf_counter()
    assert client.read(9) == b"all of it"
    server.untoxic("slow_close_downstream")
    assert client.read() == b""
    assert time.perf_counter() - started_s < 5


@pytest.mark.parametrize("how", ["delete", "reset"])
def test_removing_a_timeout_closes_also_what_toxicity_spared(
    server: Any, echo: str, connect: Connect, how: str
) -> None:
    """A connection that the toxic never touched is closed with the others, by DELETE and by /reset."""
    client = connect(server.proxy(echo))
    server.toxic("timeout", toxicity=0.0)
    client.round_trip_s()
    if how == "delete":
        server.untoxic("timeout_downstream")
    else:
        assert server.ask("POST", "/reset").status_code == 204
    assert client.read() == b""


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
@pytest.mark.parametrize(
    ("kind", "attributes"),
    [("latency", {"latency": -5, "jitter": -3}), ("slow_close", {"delay": -1}), ("noop", {})],
    ids=["latency", "slow_close", "noop"],
)
def test_negative_times_are_none(
    server: Any, echo: str, connect: Connect, kind: str, attributes: dict[str, int], stream: str
) -> None:
    """A negative delay is accepted and means none."""
    client = connect(server.proxy(echo))
    server.toxic(kind, stream, **attributes)
    assert client.round_trip_s(random_bytes(100_000)) < LATE_S


@pytest.mark.parametrize("limit", [-1, -(2**60)])
def test_a_negative_limit_is_zero(server: Any, echo: str, connect: Connect, limit: int) -> None:
    """No bytes are allowed when fewer than none are."""
    client = connect(server.proxy(echo))
    server.toxic("limit_data", bytes=limit)
    client.sendall(b"x")
    assert client.read() == b""


@pytest.mark.parametrize("timeout", [-1, 10**13])
def test_a_timeout_that_never_comes(server: Any, echo: str, connect: Connect, timeout: int) -> None:
    """A timeout of -1, or of 300 years, is a black hole, as 0 is."""
    client = connect(server.proxy(echo))
    server.toxic("timeout", timeout=timeout)
    client.sendall(b"x")
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.recv(1)


def test_documented_deviation_a_latency_beyond_300_years(server: Any, echo: str, connect: Connect) -> None:
    """10^13 ms overflow in Toxiproxy and delay nothing; the built-in proxy holds the bytes."""
    client = connect(server.proxy(echo))
    server.toxic("latency", latency=10**13)
    client.sendall(b"ping")
    client.settimeout(0.3 if server.is_builtin else 5)
    if server.is_builtin:
        with pytest.raises(TimeoutError):
            client.recv(4)
        server.untoxic("latency_downstream")
        client.settimeout(5)
    assert client.read(4) == b"ping"


def test_a_toxicity_in_between_strikes_some_connections(server: Any, echo: str, connect: Connect) -> None:
    """Half a chance is drawn for each connection: of 40 some are struck and some are spared."""
    address = server.proxy(echo)
    server.toxic("timeout", toxicity=0.5)
    clients = [connect(address) for _ in range(40)]
    for client in clients:
        client.sendall(b"x")
    time.sleep(0.5)
    answered = 0
    for client in clients:
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            answered += client.recv(1) == b"x"
    assert 5 <= answered <= 35


def drawn_again(client: Any, again: Callable[[], None]) -> set[bool]:
    """Whether the latency of 150 ms struck, each time after `again`; a busy machine takes less by itself."""
    found = set()
    for _ in range(16):
        again()
        found.add(client.round_trip_s() >= 0.15 - EARLY_S)
    return found


def test_an_update_draws_the_toxicity_anew(server: Any, echo: str, connect: Connect) -> None:
    """The same connection is struck or spared by each update's own draw."""
    client = connect(server.proxy(echo))
    server.toxic("latency", latency=150, toxicity=0.5)
    update = {"attributes": {"latency": 150}}
    path = "/proxies/p/toxics/latency_downstream"
    assert drawn_again(client, lambda: server.ask("POST", path, update)) == {True, False}


def test_documented_deviation_the_next_toxic_draws_the_one_before_anew(
    server: Any, echo: str, connect: Connect
) -> None:
    """Adding a toxic behind another restarts that one in Toxiproxy; in the built-in proxy it is let be."""
    client = connect(server.proxy(echo))
    server.toxic("latency", latency=150, toxicity=0.5)

    def add_and_remove() -> None:
        server.toxic("noop")
        server.untoxic("noop_downstream")

    assert len(drawn_again(client, add_and_remove)) == (1 if server.is_builtin else 2)


def test_documented_deviation_reset_peer_that_spares(server: Any, upstream: Start, connect: Connect) -> None:
    """With toxicity 0 Toxiproxy cuts off what a slow reader has not read yet; the built-in proxy nothing."""
    data = random_bytes(8_000_000)
    address = server.proxy(upstream(source_of(data)))
    server.toxic("reset_peer", toxicity=0.0)
    client = connect(address)
    time.sleep(0.5)
    got = bytearray()
    try:
        while piece := client.recv(65536):
            got += piece
        whole = True
    except ConnectionResetError:
        whole = False
    assert data.startswith(bytes(got))
    assert whole == server.is_builtin  # how much a reset takes along is chance: mostly some of it
    assert len(got) == len(data) or not server.is_builtin


def test_documented_deviation_a_reset_that_was_triggered(server: Any, echo: str, connect: Connect) -> None:
    """Removing it waits for its time in Toxiproxy; in the built-in proxy the reset comes then."""
    client = connect(server.proxy(echo))
    server.toxic("reset_peer", timeout=1500)
    client.sendall(b"x")
    time.sleep(0.2)
    started_s = time.perf_counter()
    server.untoxic("reset_peer_downstream")
    took_s = time.perf_counter() - started_s
    assert took_s < 1.0 if server.is_builtin else took_s >= 1.0
    with contextlib.suppress(ConnectionResetError):
        assert client.recv(1) == b""


def test_toxics_outlive_being_disabled(server: Any, echo: str, connect: Connect) -> None:
    """A toxic added while the proxy is disabled acts on every connection after."""
    server.ask("POST", "/proxies", {"name": "p", "upstream": echo, "listen": "127.0.0.1:0", "enabled": False})
    server.toxic("latency", latency=200)
    host, _, port = server.ask("POST", "/proxies/p", {"enabled": True}).json()["listen"].rpartition(":")
    assert connect((host, int(port))).round_trip_s() >= 0.2 - EARLY_S


@pytest.mark.parametrize(("toxicity", "slow"), [(0.0, False), (1.0, True)])
def test_toxicity_is_all_or_nothing_per_connection(
    server: Any, echo: str, connect: Connect, toxicity: float, slow: bool
) -> None:
    """Toxicity 0 spares every connection, 1 strikes each."""
    address = server.proxy(echo)
    server.toxic("latency", latency=700, toxicity=toxicity)
    for _ in range(2):
        assert (connect(address).round_trip_s() >= 0.7 - EARLY_S) == slow


def test_changing_a_latency_acts_on_a_live_connection(server: Any, echo: str, connect: Connect) -> None:
    """New attributes hold from the next answer on."""
    client = connect(server.proxy(echo))
    server.toxic("latency", latency=10)
    client.round_trip_s()
    server.ask("POST", "/proxies/p/toxics/latency_downstream", {"attributes": {"latency": 300}})
    assert client.round_trip_s() >= 0.3 - EARLY_S


def test_removing_a_latency_sends_what_it_held(server: Any, echo: str, connect: Connect) -> None:
    """Bytes that wait are not lost when the toxic goes; they come at once."""
    client = connect(server.proxy(echo))
    server.toxic("latency", latency=8000)
    started_s = time.perf_counter()
    client.sendall(b"held")
    time.sleep(0.1)
    server.untoxic("latency_downstream")
    assert client.read(4) == b"held"
    assert time.perf_counter() - started_s < 5


def test_a_hundred_toxics_come_and_go_under_traffic(server: Any, upstream: Start, connect: Connect) -> None:
    """Adding and removing toxics while four megabytes flow loses and reorders no byte, and never hangs."""
    data = random_bytes(4_000_000)
    done = threading.Event()

    def serve(connection: socket.socket) -> None:
        """Bytes flow until the last toxic is gone, and the rest of them after that."""
        for start in range(0, len(data), 10_000):
            connection.sendall(data[start : start + 10_000])
            if not done.is_set():
                time.sleep(0.002)
        connection.close()

    client = connect(server.proxy(upstream(serve)))
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(client.read()), daemon=True)
    reader.start()
    for index in range(100):
        if index % 2:
            server.toxic("latency", latency=2, jitter=2)
            server.untoxic("latency_downstream")
        else:
            server.toxic("slicer", average_size=9000, size_variation=100, delay=10)
            server.untoxic("slicer_downstream")
    done.set()
    reader.join(20)
    assert not reader.is_alive()
    assert got[0] == data


def test_documented_deviation_an_end_that_no_reset_peer_made(
    server: Any, upstream: Start, connect: Connect
) -> None:
    """Toxiproxy resets a connection with a reset_peer however it ends, the built-in proxy by that alone."""
    end = threading.Event()

    def serve(connection: socket.socket) -> None:
        end.wait(5)
        connection.close()

    address = server.proxy(upstream(serve))
    server.toxic("reset_peer", "upstream")
    client = connect(address)
    time.sleep(0.1)
    end.set()
    with contextlib.nullcontext() if server.is_builtin else pytest.raises(ConnectionResetError):
        assert client.read() == b""
