"""What one connection may cost, below ASGI: bytes that belong to no request, and requests out of turn."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from rag_service.api.connection import ConnectionLimits, bounded

LIMITS = ConnectionLimits(head_timeout_s=10.0, write_timeout_s=10.0, max_connections=100)
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that keeps what was written, and tells the protocol of its end as the real one does."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self._protocol = protocol
        self.written = b""
        self.ended: str | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ARG002
        return default

    def is_closing(self) -> bool:
        return self.ended is not None

    def write(self, data: bytes) -> None:  # type: ignore[override]
        if not self.is_closing():
            self.written += data

    def close(self) -> None:
        self._end("closed")

    def abort(self) -> None:
        self._end("aborted")

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def _end(self, how: str) -> None:
        if self.ended is None:
            self.ended = how
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)


class Application:
    """Answers at once or after `answers_after_s`, and notes who hung up; reads the body if it is told to."""

    def __init__(self, *, answers_after_s: float = 0.0, reads: bool = True) -> None:
        self._answers_after_s = answers_after_s
        self._reads = reads
        self.asked = 0
        self.hung_up = 0
        self.body = b""

    async def __call__(self, _: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        more = self._reads
        while more:
            message = await receive()
            self.body += message.get("body", b"")
            more = message.get("more_body", False)
        gone = asyncio.ensure_future(self._watch(receive)) if self._answers_after_s else None
        head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]}
        await send(head)
        await send({"type": "http.response.body", "body": b"an", "more_body": True})
        if gone is not None:
            await asyncio.wait((gone,), timeout=self._answers_after_s)
            gone.cancel()
        await send({"type": "http.response.body", "body": b"sw", "more_body": False})

    async def _watch(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.hung_up += 1


async def connect(application: Application) -> tuple[Any, Wire]:
    config = uvicorn.Config(
        application, lifespan="off", ws="none", log_config=None, log_level="critical", access_log=False
    )
    config.load()
    kind: Any = bounded(LIMITS)
    protocol = kind(config=config, server_state=ServerState(), app_state={})
    wire = Wire(protocol)
    protocol.connection_made(wire)
    return protocol, wire


def test_a_request_is_answered_and_its_connection_kept(run):
    """The control: two requests in turn, the second within uvicorn's wait for it, then silence is closed."""

    async def scene():
        application = Application()
        protocol, wire = await connect(application)
        for _ in range(2):
            protocol.data_received(GET)
            await asyncio.sleep(3.0)
        assert (application.asked, wire.ended) == (2, None)
        assert wire.written.count(b"answ") == 2
        await asyncio.sleep(3.0)
        return wire.ended

    assert run(scene()) == "closed"


def test_trailers_are_dropped(run):
    """A chunked body may end in some: the request is answered, and its headers do not grow."""

    async def scene():
        application = Application()
        protocol, wire = await connect(application)
        protocol.data_received(CHUNKED + b"2\r\nhi\r\n0\r\n")
        protocol.data_received(b"x-sum: 1\r\n" * 50)
        headers = len(protocol.headers)
        protocol.data_received(b"\r\n")
        await asyncio.sleep(1.0)
        assert (application.body, wire.ended) == (b"hi", None)
        return headers, wire.written

    headers, written = run(scene())
    assert headers == 2
    assert b"answ" in written


@pytest.mark.parametrize("trailer", [b"x-sum: 1\r\n" * 100, b"x" * 1000], ids=["many", "one"])
def test_endless_trailers_end_the_connection(run, trailer):
    """At 64 KiB, whether there are many or one that never ends."""

    async def scene():
        protocol, wire = await connect(Application())
        protocol.data_received(CHUNKED + b"2\r\nhi\r\n0\r\n")
        sent = 0
        while wire.ended is None and sent < 1_000_000:
            protocol.data_received(trailer)
            sent += len(trailer)
        return sent, wire.ended, len(protocol.headers)

    sent, ended, headers = run(scene())
    assert ended == "aborted"
    assert 64 * 1024 < sent < 70 * 1024
    assert headers == 2


def test_a_long_body_in_many_chunks_is_no_trailer(run):
    """Framing is counted since the last byte of the body, so that it does not add up."""

    async def scene():
        protocol, wire = await connect(Application())
        protocol.data_received(CHUNKED)
        for _ in range(40_000):
            protocol.data_received(b"1\r\nx\r\n")
        protocol.data_received(b"0\r\n\r\n")
        await asyncio.sleep(1.0)
        assert wire.ended is None
        return wire.written

    assert b"answ" in run(scene())


@pytest.mark.parametrize("stray", [b"\r\n", b"\n"])
def test_a_stray_byte_after_an_answer_does_not_keep_the_connection(run, stray):
    """It ends uvicorn's wait for the next request, so another has to begin."""

    async def scene():
        protocol, wire = await connect(Application())
        protocol.data_received(GET)
        await asyncio.sleep(1.0)
        protocol.data_received(stray)
        await asyncio.sleep(9.0)
        assert wire.ended is None
        await asyncio.sleep(2.0)
        return wire.ended

    assert run(scene()) == "closed"


def test_after_a_stray_byte_the_next_request_is_still_answered(run):
    """Some clients send an empty line after a body: that costs them nothing."""

    async def scene():
        application = Application(answers_after_s=20.0)
        protocol, wire = await connect(application)
        protocol.data_received(GET)
        await asyncio.sleep(21.0)
        protocol.data_received(b"\r\n")
        await asyncio.sleep(5.0)
        protocol.data_received(GET)
        await asyncio.sleep(21.0)
        return wire.written.count(b"HTTP/1.1 200")

    assert run(scene()) == 2


def test_the_rest_of_a_body_after_its_answer_does_not_keep_the_connection(run):
    """Answered before the body had come (405, 415): what follows is awaited no longer than headers are."""

    async def scene():
        protocol, wire = await connect(Application(reads=False))
        protocol.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
        await asyncio.sleep(1.0)
        protocol.data_received(b"x")
        await asyncio.sleep(11.0)
        return wire.ended

    assert run(scene()) == "closed"


def test_a_body_that_nobody_reads_is_taken_up_to_a_bound(run):
    """A megabyte after the answer is more than any body that is allowed."""

    async def scene():
        protocol, wire = await connect(Application(reads=False))
        protocol.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99000000\r\n\r\n")
        await asyncio.sleep(1.0)
        sent = 0
        while wire.ended is None and sent < 10_000_000:
            protocol.data_received(b"x" * 10_000)
            sent += 10_000
        return sent

    assert 1_000_000 < run(scene()) < 1_100_000


def test_a_request_out_of_turn_does_not_hide_the_hang_up(run):
    """The answer under way is told that nobody waits for it, although another request came meanwhile."""

    async def scene():
        application = Application(answers_after_s=30.0)
        protocol, wire = await connect(application)
        protocol.data_received(GET)
        await asyncio.sleep(1.0)
        protocol.data_received(GET)
        await asyncio.sleep(1.0)
        wire.close()
        await asyncio.sleep(1.0)
        return application.asked, application.hung_up

    assert run(scene()) == (1, 1)


def test_a_request_out_of_turn_ends_the_connection_after_the_answer(run):
    """The answer under way stays whole and its own; what came after it is not taken, however much it is."""

    async def scene():
        application = Application(answers_after_s=30.0)
        protocol, wire = await connect(application)
        protocol.data_received(GET)
        await asyncio.sleep(1.0)
        for _ in range(1000):
            protocol.data_received(GET)
        protocol.data_received(b"\x00garbage")
        await asyncio.sleep(28.0)
        assert wire.ended is None
        await asyncio.sleep(2.0)
        return application.asked, application.hung_up, wire.written, wire.ended

    asked, hung_up, written, ended = run(scene())
    assert (asked, hung_up, ended) == (1, 0, "closed")
    assert written.count(b"HTTP/1.1") == 1
    assert written.endswith(b"answ")


def test_garbage_in_the_middle_of_an_answer_does_not_spoil_it(run):
    """No 400 is written into the answer's bytes."""

    async def scene():
        protocol, wire = await connect(Application(answers_after_s=30.0))
        protocol.data_received(GET)
        await asyncio.sleep(1.0)
        protocol.data_received(b"\x00\x01\r\n\r\n")
        await asyncio.sleep(1.0)
        return wire.written, wire.ended

    written, ended = run(scene())
    assert b"400" not in written
    assert ended == "aborted"
