"""The wire: what a client sees of peers that answer well, badly, or not at all; real sockets on loopback."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
from contextlib import asynccontextmanager

import httpx
import pytest

from rag_service.segments.wire import WireTransport

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
RESET = object()
CLOSE = object()


class Peer:
    """Answers each request with the next script: bytes are sent, an event is waited for, CLOSE hangs up,
    RESET resets."""

    def __init__(self, *scripts):
        self.scripts = list(scripts)
        self.connections = 0
        self.requests = []
        self.sent = 0
        self.lost = asyncio.Event()

    async def __call__(self, reader, writer):
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
                body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
                self.requests.append((head, body))
                for step in self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]:
                    if step is CLOSE:
                        return
                    if step is RESET:
                        linger = struct.pack("ii", 1, 0)
                        writer.get_extra_info("socket").setsockopt(
                            socket.SOL_SOCKET, socket.SO_LINGER, linger
                        )
                        writer.transport.abort()
                        return
                    if isinstance(step, asyncio.Event):
                        await step.wait()
                        continue
                    writer.write(step)
                    await writer.drain()
                    self.sent += 1
                    await asyncio.sleep(0)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.lost.set()
            writer.close()


@asynccontextmanager
async def talking_to(peer, *, max_connections=8, idle_s=2.0):
    server = await asyncio.start_server(peer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    transport = WireTransport(max_connections=max_connections, idle_s=idle_s)
    async with httpx.AsyncClient(
        transport=transport, base_url=f"http://{host}:{port}", timeout=httpx.Timeout(None, connect=1.0)
    ) as client:
        try:
            yield client
        finally:
            server.close()


def play(*scripts, ask):
    """Run `ask(client, peer)` against a scripted peer."""

    async def scene():
        peer = Peer(*scripts)
        async with asyncio.timeout(10.0), talking_to(peer) as client:
            return await ask(client, peer)

    return asyncio.run(scene())


async def get_twice(client, peer):
    first = await client.get("/a")
    second = await client.post("/b", json={"x": 1})
    return first, second, peer


@pytest.mark.parametrize(
    "answer",
    [
        (OK,),
        tuple(OK[i : i + 1] for i in range(len(OK))),
        (CHUNKED + b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n",),
        tuple((CHUNKED + b"2\r\nok\r\n0\r\n\r\n")[i : i + 3] for i in range(0, 64, 3)),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK,),
    ],
)
def test_a_whole_answer_is_read_and_its_connection_used_again(answer):
    """However its bytes are cut, with a length or chunked, after an interim response."""
    first, second, peer = play(answer, ask=get_twice)
    assert (first.status_code, first.text, second.text) == (200, "ok", "ok")
    assert peer.connections == 1
    (head, _), (_, body) = peer.requests
    assert head.startswith(b"GET /a HTTP/1.1\r\n")
    assert body == b'{"x":1}'


@pytest.mark.parametrize(
    "answer",
    [
        (b"HTTP/1.1 200 OK\r\n\r\nok", CLOSE),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",),
    ],
)
def test_a_connection_that_may_not_be_used_again_is_not(answer):
    """A body without length, or `Connection: close`."""
    first, second, peer = play(answer, ask=get_twice)
    assert (first.text, second.text) == ("ok", "ok")
    assert peer.connections == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((CLOSE,), httpx.RemoteProtocolError),
        ((RESET,), httpx.ReadError),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", CLOSE), httpx.RemoteProtocolError),
        ((CHUNKED + b"2\r\nok\r\n", CLOSE), httpx.RemoteProtocolError),
        ((b"SSH-2.0-OpenSSH\r\n", CLOSE), httpx.RemoteProtocolError),
        ((CHUNKED + b"what\r\n", CLOSE), httpx.RemoteProtocolError),
    ],
)
def test_a_broken_answer_is_the_same_error_as_with_httpx_own_transport(answer, error):
    """Reset, hung up before the head or within the body, not HTTP, a bad chunk."""

    async def scene(transport):
        peer = Peer(answer)
        server = await asyncio.start_server(peer, "127.0.0.1", 0)
        async with server, httpx.AsyncClient(transport=transport) as client:
            host, port = server.sockets[0].getsockname()
            with pytest.raises(error):
                await client.get(f"http://{host}:{port}/")

    asyncio.run(scene(httpx.AsyncHTTPTransport()))
    asyncio.run(scene(WireTransport(max_connections=1, idle_s=1.0)))


async def _spin():
    """Until what is on its way over loopback has been noticed."""
    for _ in range(200):
        await asyncio.sleep(0)


@pytest.mark.parametrize("reader", ["waits", "is busy elsewhere"])
@pytest.mark.parametrize(
    ("later", "whole"),
    [
        ((b"what\r\n",), b"ok"),
        ((b"2\r\nay\r\nwhat\r\n",), b"okay"),
        ((b"2\r\nayX",), b"okay"),
        ((CLOSE,), b"ok"),
    ],
)
def test_a_body_that_breaks_later_is_the_same_error_too(reader, later, whole):
    """A chunk that is none, or a hang-up, in a segment of its own: at once, after all that came before."""

    async def scene(transport):
        more = asyncio.Event()
        server = await asyncio.start_server(Peer((CHUNKED + b"2\r\nok\r\n", more, *later)), "127.0.0.1", 0)
        got = []
        async with asyncio.timeout(5.0), server, httpx.AsyncClient(transport=transport) as client:
            host, port = server.sockets[0].getsockname()
            async with client.stream("GET", f"http://{host}:{port}/", timeout=None) as response:
                parts = response.aiter_raw()
                got.append(await anext(parts))
                if reader == "waits":
                    asyncio.get_running_loop().call_soon(more.set)
                else:
                    more.set()
                    await _spin()
                with pytest.raises(httpx.RemoteProtocolError):
                    async for part in parts:
                        got.append(part)
        return b"".join(got)

    assert asyncio.run(scene(httpx.AsyncHTTPTransport())) == whole
    assert asyncio.run(scene(WireTransport(max_connections=1, idle_s=1.0))) == whole


def test_a_connection_that_is_reset_while_idle_is_no_news(caplog):
    """Its last answer came in parts and is whole: asyncio logs no exception that nobody asked for."""
    more, read = asyncio.Event(), asyncio.Event()

    async def ask(client, peer):
        async with client.stream("GET", "/") as response:
            more.set()
            text = (await response.aread()).decode()
        read.set()
        await peer.lost.wait()
        await _spin()
        return text

    head, rest = CHUNKED + b"1\r\no\r\n", b"1\r\nk\r\n0\r\n\r\n"
    assert play((head, more, rest, read, RESET), ask=ask) == "ok"
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_what_came_before_a_cut_is_given_out_first():
    """Tokens that arrived are shown; only then comes the error."""

    async def ask(client, _):
        got = []
        async with client.stream("GET", "/") as response:
            with pytest.raises(httpx.RemoteProtocolError):
                async for part in response.aiter_raw():
                    got.append(part)
        return b"".join(got)

    assert play((CHUNKED + b"2\r\nok\r\n", CLOSE), ask=ask) == b"ok"


def test_nobody_listens():
    """A refused connection is a ConnectError."""

    async def scene():
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        server.close()
        await server.wait_closed()
        async with httpx.AsyncClient(transport=WireTransport(max_connections=1, idle_s=1.0)) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(f"http://{host}:{port}/")

    asyncio.run(scene())


def test_leaving_in_mid_answer_hangs_up_at_once():
    """That is how the model server learns that it may free the slot; the place is free for the next."""

    async def ask(client, peer):
        async with client.stream("GET", "/") as response:
            await anext(response.aiter_raw())
        await peer.lost.wait()
        peer.scripts = [(OK,)]
        return (await client.get("/")).text, peer.connections

    assert play((CHUNKED + b"2\r\nok\r\n",), ask=ask) == ("ok", 2)


def test_a_cancelled_wait_hangs_up_too():
    """Before the head: nothing is left over that the next request could trip on."""

    async def ask(client, peer):
        waiting = asyncio.ensure_future(client.get("/slow"))
        while not peer.requests:
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await peer.lost.wait()
        peer.scripts = [(OK,)]
        return (await client.get("/")).text

    assert play((b"",), ask=ask) == "ok"


def test_a_connection_that_the_peer_closed_while_idle_is_not_used():
    """The next request opens a new one instead of failing."""

    async def ask(client, peer):
        await client.get("/")
        peer.scripts = [(OK,)]
        await asyncio.sleep(0)
        await peer.lost.wait()
        await asyncio.sleep(0)
        for _ in range(100):  # until the loop has seen that the peer is gone
            await asyncio.sleep(0)
        return (await client.get("/")).text, peer.connections

    assert play((OK, CLOSE), ask=ask) == ("ok", 2)


def test_an_idle_connection_is_given_up_in_time():
    """`idle_s` 0: never used twice."""

    async def scene():
        peer = Peer((OK,))
        async with talking_to(peer, idle_s=-1.0) as client:
            await get_twice(client, peer)
        return peer.connections

    assert asyncio.run(scene()) == 2


def test_no_more_connections_than_allowed():
    """The others wait in line and are served on the same connection."""

    async def scene():
        peer = Peer((OK,))
        async with talking_to(peer, max_connections=2) as client:
            answers = await asyncio.gather(*(client.get("/") for _ in range(12)))
        return peer.connections, {answer.text for answer in answers}

    assert asyncio.run(scene()) == (2, {"ok"})


def test_a_reader_that_lags_stops_the_sender():
    """Megabytes that nobody reads stay with the peer, beyond what the kernel's buffers hold."""
    part, parts = b"x" * 65536, 1024

    async def ask(client, peer):
        async with client.stream("GET", "/") as response:
            held = -1
            while held != peer.sent:
                held = peer.sent
                for _ in range(1000):
                    await asyncio.sleep(0)
            whole = sum([len(part) async for part in response.aiter_raw()])
        return held, whole

    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (len(part) * parts)
    held, whole = play((head, *[part] * parts), ask=ask)
    assert whole == len(part) * parts
    assert held < parts // 2


def test_a_silent_peer_and_a_limit_on_reading():
    """Whoever asks for one gets a ReadTimeout, as with httpx's own transport."""

    async def ask(client, _):
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/", timeout=httpx.Timeout(10.0, read=0.01))
        return True

    assert play((b"",), ask=ask)
