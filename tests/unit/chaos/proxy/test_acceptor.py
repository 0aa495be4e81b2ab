"""Taking connections within a bound: what is refused a place waits, and nobody asks twice for nothing."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from chaos.proxy import acceptor as acceptor_module
from chaos.proxy.acceptor import Acceptor, Descriptors


class Listener:
    """A listening socket whose `accept` does what the test says; its file descriptor is a real one."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.waiting: list[OSError | int] = []
        self.asked = 0

    def fileno(self) -> int:
        return self.ours.fileno()

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()

    def accept(self) -> tuple[Any, None]:
        self.asked += 1
        if not self.waiting:
            raise BlockingIOError
        first = self.waiting.pop(0)
        if isinstance(first, OSError):
            raise first
        return Accepted(), None


class Accepted:
    def setblocking(self, flag: bool) -> None:
        assert not flag


class Loop:
    """What an acceptor asks of the loop, driven by hand."""

    def __init__(self) -> None:
        self.reader: Any = None
        self.later: list[Any] = []
        self.time_s = 100.0

    def time(self) -> float:
        return self.time_s

    def add_reader(self, _: int, callback: Any) -> None:
        self.reader = callback

    def remove_reader(self, _: int) -> None:
        self.reader = None

    def call_later(self, _: float, callback: Any) -> None:
        self.later.append(callback)


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


def made(listener: Any, loop: Any, descriptors: Descriptors, taken: list[Any]) -> Acceptor:
    return Acceptor(listener, loop, taken.append, descriptors, 2)


def test_it_takes_what_there_is(listener: Listener) -> None:
    """Each connection costs its descriptors; with nobody left the last place is given back."""
    loop, descriptors, taken = Loop(), Descriptors(100), []
    made(listener, loop, descriptors, taken)
    listener.waiting = [1, 2, 3]
    loop.reader()
    assert len(taken) == 3
    assert descriptors.taken == 6
    assert loop.reader is not None


def test_without_a_place_it_stops_listening_until_there_is_one(listener: Listener, caplog: Any) -> None:
    """It does not ask the kernel again before a connection has ended, and tells once in ten seconds."""
    loop, descriptors, taken = Loop(), Descriptors(4), []
    made(listener, loop, descriptors, taken)
    listener.waiting = [1, 2, 3, 4]
    loop.reader()
    assert len(taken) == 2
    assert loop.reader is None
    assert listener.asked == 2
    for count in (3, 4):
        descriptors.give(2)
        loop.reader()
        assert len(taken) == count
    assert caplog.text.count("takes no more connections") == 1
    loop.time_s += 11
    descriptors.give(2)
    listener.waiting = [5, 6]
    loop.reader()
    assert caplog.text.count("takes no more connections") == 2


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_a_full_table_is_a_pause(listener: Listener, caplog: Any, code: int) -> None:
    """`accept` that fails is tried again later, not at once, and its place is free meanwhile."""
    loop, descriptors, taken = Loop(), Descriptors(100), []
    made(listener, loop, descriptors, taken)
    listener.waiting = [OSError(code, "full"), 1]
    loop.reader()
    assert loop.reader is None
    assert descriptors.taken == 0
    (resume,) = loop.later
    resume()
    loop.reader()
    assert len(taken) == 1
    assert "takes no more connections" in caplog.text


def test_a_client_that_gave_up_in_the_queue_is_passed_over(listener: Listener) -> None:
    """ECONNABORTED is that client's affair; the next one gets in."""
    loop, descriptors, taken = Loop(), Descriptors(100), []
    made(listener, loop, descriptors, taken)
    listener.waiting = [ConnectionAbortedError(), 1]
    loop.reader()
    assert len(taken) == 1
    assert descriptors.taken == 2


def test_one_that_is_closed_comes_back_neither_by_place_nor_by_timer(listener: Listener) -> None:
    """A proxy that was disabled while it waited stays so."""
    loop, descriptors = Loop(), Descriptors(2)
    acceptor = made(listener, loop, descriptors, [])
    listener.waiting = [1, OSError(errno.EMFILE, "full")]
    loop.reader()
    acceptor.close()
    descriptors.give(2)
    for resume in loop.later:
        resume()
    assert loop.reader is None


def test_the_limit_leaves_room_for_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process has open and 64 more are not for connections; the soft limit is raised first."""
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(acceptor_module.resource, "getrlimit", lambda _: (256, 4096))
    monkeypatch.setattr(acceptor_module.resource, "setrlimit", lambda _, pair: asked.append(pair))
    assert 3900 < acceptor_module.all_descriptors().most < 4096 - 64
    assert asked == [(4096, 4096)]

    def refuse(*_: Any) -> None:
        raise ValueError("not allowed")

    monkeypatch.setattr(acceptor_module.resource, "setrlimit", refuse)
    assert acceptor_module.all_descriptors().most <= 256 - 64


def test_a_name_server_that_hangs_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look-up is in a thread and ends with an error that says so; numeric hosts need none."""
    import threading

    from chaos.proxy import addresses

    release = threading.Event()

    def hang(_: str) -> addresses.Address:
        release.wait(5)
        return addresses.Address("127.0.0.1", 1)

    async def run() -> None:
        assert await addresses.look_up("127.0.0.1:80") == "127.0.0.1:80"
        assert await addresses.look_up(":0") == ":0"
        monkeypatch.setattr(addresses, "resolve_address", hang)
        monkeypatch.setattr(addresses, "_LOOKUP_S", 0.01)
        with pytest.raises(addresses.AddressError, match=r"lookup slow\.example: i/o timeout"):
            await addresses.look_up("slow.example:80")
        release.set()

    asyncio.run(run())
