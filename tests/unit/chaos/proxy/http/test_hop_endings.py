"""How a connection through the hop ends: each way of ending reaches the other side, and nothing is left."""

from __future__ import annotations

import asyncio
import socket
import struct
from asyncio import StreamReader, StreamWriter
from typing import Any

import pytest

from tests.unit.chaos.proxy.http.raw_http import GET, OK, answers, body_of, head_of


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_nobody_waits_for_a_body_that_does_not_come(with_bench: Any, who: str) -> None:
    """After an early answer either side may leave: the other is let go."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await head_of(reader)
        writer.write(OK)
        if who == "upstream":
            await asyncio.sleep(0.5)
            return
        assert await reader.read() == b"some"
        gone.set()

    gone = asyncio.Event()

    async def work(bench: Any) -> None:
        client = await bench.client(await bench.upstream(serve))
        client.send(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\nsome")
        await client.until(OK)
        async with asyncio.timeout(10):
            if who == "client":
                client.transport.close()
                await gone.wait()
            else:
                assert await client.rest() == OK

    with_bench(work)


@pytest.mark.parametrize("stage", ["before the answer", "in mid-answer", "in a stall"])
def test_a_client_that_hangs_up_ends_the_upstreams_work(with_bench: Any, stage: str) -> None:
    """The upstream's connection is closed at once, whatever the hop is waiting for."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await head_of(reader)
        if stage != "before the answer":
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            writer.write(b"e\r\ndata: [DONE]\n\n\r\n")
        assert await reader.read() == b""
        bench_gone.set()

    bench_gone = asyncio.Event()

    async def work(bench: Any) -> None:
        if stage == "in a stall":
            bench.fault("stall", after_tokens=0)
        client = await bench.client(await bench.upstream(serve))
        client.send(GET)
        if stage != "before the answer":
            await client.until(b"[DONE]" if stage == "in mid-answer" else b"\r\n\r\n")
        while not bench.accepted:
            await asyncio.sleep(0)
        client.transport.close()
        async with asyncio.timeout(1):
            await bench_gone.wait()

    with_bench(work)


def test_an_upstream_that_closes_between_requests_closes_the_client(with_bench: Any) -> None:
    """A server's idle timeout is the client's to see, so that its pool drops the connection."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await head_of(reader)
        writer.write(OK)

    async def work(bench: Any) -> None:
        client = await bench.client(await bench.upstream(serve))
        client.send(GET)
        assert await client.rest() == OK

    with_bench(work)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
    ],
)
def test_an_upstream_that_closes_in_mid_answer_cuts_the_client_off(with_bench: Any, said: bytes) -> None:
    """What came passes, nothing is made up, and then the connection is closed."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await head_of(reader)
        writer.write(said)

    async def work(bench: Any) -> None:
        client = await bench.client(await bench.upstream(serve))
        client.send(GET)
        assert await client.rest() == said
        assert not client.was_reset

    with_bench(work)


def test_an_upstreams_reset_is_the_clients(with_bench: Any) -> None:
    """A connection that the upstream resets in mid-answer is reset for the client, after what came."""

    async def work(bench: Any) -> None:
        async def reset(reader: StreamReader, writer: StreamWriter) -> None:
            await head_of(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
            await asyncio.sleep(0.1)
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

        client = await bench.client(await bench.upstream(reset))
        client.send(GET)
        assert (await client.rest()).endswith(b"half")
        assert client.was_reset

    with_bench(work)


@pytest.mark.parametrize("upstream", [None, "nonsense", "127.0.0.1:99999"])
def test_an_upstream_out_of_reach_is_a_502_that_says_so(with_bench: Any, upstream: str | None) -> None:
    """The answer is JSON, names the address, and the connection lives on."""

    async def work(bench: Any) -> None:
        where = upstream or bench.nowhere()
        client = await bench.client(where)
        for _ in range(2):
            client.data.clear()
            client.send(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nyo")
            answer = await client.until(b"}\n")
            assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
            assert where in body_of(answer)["error"]["message"]

    with_bench(work)


def test_a_broken_body_for_an_upstream_out_of_reach_is_a_400(with_bench: Any) -> None:
    """What is wrong with the request is said first; the log stays empty."""

    async def work(bench: Any) -> None:
        client = await bench.client(bench.nowhere())
        client.send(b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n")
        assert (await client.rest()).startswith(b"HTTP/1.1 400 ")

    with_bench(work)


def test_dialling_has_a_limit(with_bench: Any, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upstream that takes no connection is a 502 after the dial timeout."""

    async def work(bench: Any) -> None:
        client = await bench.client(bench.nowhere())
        loop = asyncio.get_running_loop()

        async def never(*_: Any, **__: Any) -> Any:
            await asyncio.Event().wait()

        monkeypatch.setattr(loop, "create_connection", never)
        start_s = clock()
        client.send(GET)
        assert "within 5 s" in body_of(await client.until(b"}\n"))["error"]["message"]
        assert clock() - start_s == pytest.approx(5.0)

    with_bench(work)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (b"GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", 501),
        (b"CONNECT h:1 HTTP/1.1\r\nhost: h\r\n\r\n", 501),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: h\r\nx: " + b"y" * 70_000, 431),
        (b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(
    with_bench: Any, asked: bytes, status: int
) -> None:
    """A refusal is JSON with a reason; nothing hangs and nothing else happens to the hop."""

    async def work(bench: Any) -> None:
        client = await bench.client(await bench.upstream(answers(OK)))
        client.send(asked)
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer
        assert body_of(answer)["error"]["code"] == status

    with_bench(work)


@pytest.mark.parametrize("said", [b"220 smtp\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"])
def test_an_answer_that_is_no_http_is_a_502(with_bench: Any, said: bytes) -> None:
    """An upstream that speaks something else is named as such."""

    async def work(bench: Any) -> None:
        client = await bench.client(await bench.upstream(answers(said)))
        client.send(GET)
        answer = await client.until(b"}\n")
        assert answer.startswith(b"HTTP/1.1 502 ") and b"is not HTTP/1.1" in answer

    with_bench(work)


def test_a_body_that_breaks_off_half_way_is_a_400(with_bench: Any) -> None:
    """A broken chunk in the middle of an upload is refused, and the upstream's connection closed."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:  # noqa: ARG001
        await reader.read()
        gone.set()

    gone = asyncio.Event()

    async def work(bench: Any) -> None:
        client = await bench.client(await bench.upstream(serve))
        client.send(b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n")
        await asyncio.sleep(0.1)
        client.send(b"nonsense\r\n")
        assert (await client.rest()).startswith(b"HTTP/1.1 400 ")
        await gone.wait()

    with_bench(work)


def test_a_stopped_hop_drops_its_requests(with_bench: Any) -> None:
    """`stop` ends what is under way on both sides."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:  # noqa: ARG001
        await reader.read()
        gone.set()

    gone = asyncio.Event()

    async def work(bench: Any) -> None:
        client = await bench.client(await bench.upstream(serve))
        client.send(GET)
        while not bench.accepted:
            await asyncio.sleep(0)
        bench.hop.stop()
        assert await client.rest() == b""
        await gone.wait()

    with_bench(work)


@pytest.mark.parametrize("chunked", [False, True])
def test_what_came_before_a_broken_answer_arrives(with_bench: Any, chunked: bool) -> None:
    """A client that reads late still gets all that the upstream sent before it closed in mid-answer."""

    size = 600_000  # more than the hop passes on at once

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await head_of(reader)
        framing = b"transfer-encoding: chunked" if chunked else b"content-length: 1000000"
        writer.write(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        writer.write((b"%x\r\n" % (2 * size) if chunked else b"") + b"x" * size)

    async def work(bench: Any) -> None:
        client = await bench.client(await bench.upstream(serve))
        client.transport.pause_reading()
        client.send(GET)
        await asyncio.sleep(1)
        client.transport.resume_reading()
        assert (await client.rest()).count(b"x") == size

    with_bench(work)


def test_what_came_before_nonsense_arrives(with_bench: Any) -> None:
    """Of an answer with a broken chunk, head and good chunks are passed on; then the client is cut off."""

    async def work(bench: Any) -> None:
        head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        client = await bench.client(await bench.upstream(answers(head + b"2\r\nab\r\nnonsense\r\n")))
        client.send(GET)
        assert await client.rest() == head + b"2\r\nab\r\n"

    with_bench(work)


def test_a_hop_that_stops_at_once_leaves_no_socket(with_bench: Any) -> None:
    """A connection that was taken in the moment of the stop is closed as well."""

    async def work(bench: Any) -> None:
        client = await bench.client(await bench.upstream(answers(OK)))
        bench.hop.stop()  # before its task ran for the first time
        async with asyncio.timeout(5):
            assert await client.rest() == b""

    with_bench(work)
