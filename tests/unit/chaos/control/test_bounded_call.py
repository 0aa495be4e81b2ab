"""A call ends in its time as a whole, and an answer that is not whole is none, whatever listens there."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from chaos.control import bounded_call
from chaos.control.bounded_call import Answer, HTTPException
from chaos.control.fault_proxy import FaultProxyError
from chaos.control.simulator import SimulatorError, SimulatorFaults, SimulatorGoneError
from chaos.control.toxiproxy import ProxyGoneError, ProxyHungError, Toxiproxy
from chaos.safety.undo import perform
from tests.tcp import Serve, Start, tcp_servers

CALL_S = 0.1
#: Nothing here takes longer than a call's time; what hangs takes for ever.
HANG_S = 20.0
OK = b"HTTP/1.1 200 OK\r\n"
ENDED = threading.Event()


def asked(connection: socket.socket) -> None:
    """Read the request, which is small."""
    connection.recv(65536)


def dripping(head: bytes, drop: bytes) -> Serve:
    """Say `head`, then `drop` again and again, each well within a time limit for single reads."""

    def serve(connection: socket.socket) -> None:
        asked(connection)
        connection.sendall(head)
        while not ENDED.wait(0.005):
            connection.sendall(drop)

    return serve


def saying(answer: bytes) -> Serve:
    def serve(connection: socket.socket) -> None:
        asked(connection)
        connection.sendall(answer)
        connection.close()

    return serve


def mute(connection: socket.socket) -> None:
    asked(connection)
    ENDED.wait(HANG_S)


def resetting(connection: socket.socket) -> None:
    asked(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


ENDLESS = {
    "mute": mute,
    "status line byte by byte": dripping(b"", b"H"),
    "headers byte by byte": dripping(OK, b"A"),
    "one 100 after another": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body byte by byte": dripping(OK + b"Content-Length: 1000000\r\n\r\n", b"x"),
    "chunk after chunk": dripping(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "a body without an end": dripping(OK + b"\r\n", b"x"),
}
BROKEN = {
    "no HTTP": saying(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "binary": saying(bytes(range(256)) * 40),
    "nothing": saying(b""),
    "half a status line": saying(b"HTTP/1.1 2"),
    "half a body": saying(OK + b'Content-Length: 100\r\n\r\n{"version"'),
    "half a chunk": saying(OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\nx"),
    "no length": saying(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "a reset": resetting,
}


@pytest.fixture
def start() -> Iterator[Start]:
    ENDED.clear()
    with tcp_servers() as begin:
        yield begin
        ENDED.set()


def call(address: str, timeout_s: float = CALL_S) -> Answer:
    host, _, port = address.rpartition(":")
    return bounded_call.call("GET", host, int(port), "/version", None, timeout_s)


@pytest.mark.parametrize("serve", ENDLESS.values(), ids=list(ENDLESS))
def test_a_call_ends_in_its_time_as_a_whole(start: Start, serve: Serve) -> None:
    """However an answer is dragged out, the call ends, and each client says that it may have been done."""
    address = start(serve)
    began_s = time.monotonic()
    with pytest.raises(TimeoutError):
        call(address)
    with pytest.raises(ProxyHungError, match=r"no answer within 0\.1 s; it may have been done or not"):
        Toxiproxy(f"http://{address}", CALL_S).version()
    with pytest.raises(SimulatorError, match=r"no answer within 0\.1 s; it may have been done or not"):
        SimulatorFaults(address, CALL_S).get("it")
    assert 3 * CALL_S <= time.monotonic() - began_s < HANG_S


@pytest.mark.parametrize("serve", BROKEN.values(), ids=list(BROKEN))
def test_what_broke_or_is_no_http_is_not_gone(start: Start, serve: Serve) -> None:
    """A process that may live is never taken for one that is gone, whose faults would be gone with it."""
    address = start(serve)
    with pytest.raises((OSError, HTTPException)):
        call(address, HANG_S)
    with pytest.raises(ProxyHungError, match=r"the connection broke .*does something other than Toxiproxy"):
        Toxiproxy(f"http://{address}", HANG_S).version()
    undos: list[dict[str, str]] = [
        {"do": "remove_toxic", "api": f"http://{address}", "proxy": "llm", "toxic": "slow"},
        {"do": "enable", "api": f"http://{address}", "proxy": "llm"},
        {"do": "remove_http_fault", "api": f"http://{address}", "proxy": "llm", "fault": "bad"},
        {"do": "remove_simulator_fault", "address": address, "fault": "bad"},
    ]
    for undo in undos:
        with pytest.raises(FaultProxyError):
            perform(undo, HANG_S)


def test_nobody_there_is_gone() -> None:
    """Refused is the one answer that proves that no process is there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(ConnectionRefusedError):
        call(address)
    with pytest.raises(ProxyGoneError, match="is the fault proxy running"):
        Toxiproxy(f"http://{address}").version()
    with pytest.raises(SimulatorGoneError, match="nobody listens"):
        SimulatorFaults(address).get("it")


def test_a_whole_answer_comes_back(start: Start) -> None:
    """With a length, in chunks, or until the end: status and body."""
    for answer in (
        b"Content-Length: 2\r\n\r\n{}",
        b"\r\n{}",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ):
        assert call(start(saying(OK + answer)), HANG_S) == Answer(200, b"{}")


def test_an_answer_has_a_size(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """What never ends, however fast it comes, does not fill memory."""
    monkeypatch.setattr(bounded_call, "MOST_BYTES", 1000)
    with pytest.raises(HTTPException, match="1000 bytes or more"):
        call(start(saying(OK + b"\r\n" + b"x" * 5000)), HANG_S)


CALLS: dict[str, Callable[[Toxiproxy], object]] = {
    "version": lambda client: client.version(),
    "proxies": lambda client: client.proxies(),
    "proxy": lambda client: client.proxy("p"),
    "toxics": lambda client: client.toxics("p"),
    "set_enabled": lambda client: client.set_enabled("p", True),
    "delete_proxy": lambda client: client.delete_proxy("p"),
    "remove_toxic": lambda client: client.remove_toxic("p", "t"),
    "reset": lambda client: client.reset(),
}


@pytest.mark.parametrize("do", CALLS.values(), ids=list(CALLS))
@pytest.mark.parametrize(
    "said", [b"", b"null", b"[1]", b'{"p": 1}', b'"x"', b"5", b"\xff", b"[" * 20_000, b"<html>"]
)
def test_json_of_another_shape_is_an_error(
    start: Start, said: bytes, do: Callable[[Toxiproxy], object]
) -> None:
    """A 200 that says something else is an error that asks who listens there, never a traceback."""
    address = start(saying(OK + b"Content-Length: %d\r\n\r\n" % len(said) + said))
    with pytest.raises(FaultProxyError, match=r"does something other than Toxiproxy >= 2\.7 listen"):
        do(Toxiproxy(f"http://{address}", HANG_S))


@pytest.mark.parametrize("address", ["", "h", "h:x", "h:99999", "http://h:1", "h:1/path", "u@h:1", ":1"])
def test_an_address_of_a_simulator_has_host_and_port(address: str) -> None:
    """The form is said before anything is asked of it."""
    with pytest.raises(ValueError, match="HOST:PORT"):
        SimulatorFaults(address)
