"""The hop between raw sockets: what passes is what came, however it comes."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from typing import Any

import pytest

from tests.unit.chaos.proxy.http.raw_http import GET, OK, answers, head_of


def test_what_no_fault_touches_passes_as_it_came(with_bench: Any) -> None:
    """Request and answer arrive with every byte that they had, spelling of headers and reason included."""

    async def work(bench: Any) -> None:
        seen: list[bytes] = []
        client = await bench.client(await bench.upstream(answers(OK, seen=seen)))
        asked = b"GET /x?q=1 HTTP/1.1\r\nHost: h\r\nX-odd-CASE: a  b\r\n\r\n"
        client.send(asked)
        assert await client.until(b"hi") == OK
        assert seen == [asked]

    with_bench(work)


def test_a_connection_is_kept_alive_on_both_sides(with_bench: Any) -> None:
    """Many requests of a client go over one upstream connection; pipelined ones too, in order."""

    async def work(bench: Any) -> None:
        client = await bench.client(await bench.upstream(answers(OK, OK, OK)))
        client.send(GET)
        await client.until(b"hi")
        client.send(GET + GET)
        await client.until(b"hi" + OK + OK)
        assert bench.accepted == 1

    with_bench(work)


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nx: y\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 500\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("fault", [None, "malformed_json", "truncate"])
def test_answers_without_a_body_stay_without(
    with_bench: Any, method: bytes, answer: bytes, fault: str | None
) -> None:
    """HEAD, 204 and 304 have no body whatever their headers say, and the connection goes on after them."""

    async def work(bench: Any) -> None:
        if fault:
            bench.fault(fault, **({"after_tokens": 0} if fault == "truncate" else {}))
        client = await bench.client(await bench.upstream(answers(answer, answer)))
        for turn in (1, 2):
            client.send(method + b" / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert await client.until(answer * turn) == answer * turn

    with_bench(work)


def test_chunks_and_trailers_pass(with_bench: Any) -> None:
    """A chunked answer stays chunked, with the trailers at its end."""

    async def work(bench: Any) -> None:
        chunked = (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nX-T: 1\r\n\r\n"
        )
        client = await bench.client(await bench.upstream(answers(chunked)))
        client.send(GET)
        assert await client.until(b"X-T: 1\r\n\r\n") == chunked

    with_bench(work)


def test_an_answer_without_length_goes_on_to_its_close(with_bench: Any) -> None:
    """What the upstream ends by closing arrives whole, in chunks for a client of HTTP/1.1."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nall of it")

    async def work(bench: Any) -> None:
        client = await bench.client(await bench.upstream(serve))
        client.send(GET)
        data = await client.until(b"0\r\n\r\n")
        assert data.startswith(b"HTTP/1.1 200 OK\r\n") and b"all of it" in data

    with_bench(work)


def test_a_client_of_http_1_0_gets_its_answer_and_a_close(with_bench: Any) -> None:
    """No chunks for HTTP/1.0, and a Host for the upstream, which needs one."""

    async def work(bench: Any) -> None:
        seen: list[bytes] = []
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
        upstream = await bench.upstream(answers(chunked, seen=seen))
        client = await bench.client(upstream)
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.rest()).endswith(b"\r\n\r\nab")
        assert f"host: {upstream}".encode() in seen[0]

    with_bench(work)


def test_a_body_waits_for_100_continue(with_bench: Any) -> None:
    """The upstream's 100 reaches the client before it sends its body, and the body then passes."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        assert b"expect: 100-continue" in await head_of(reader)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        writer.write(OK.replace(b"hi", await reader.readexactly(2)))
        await reader.read()

    async def work(bench: Any) -> None:
        client = await bench.client(await bench.upstream(serve))
        client.send(b"POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"yo")
        await client.until(b"\r\n\r\nyo")

    with_bench(work)


def test_an_answer_may_come_before_the_body_is_sent(with_bench: Any) -> None:
    """An upstream that refuses a body in the middle is heard, and the connection is then closed."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 413 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await reader.read()

    async def work(bench: Any) -> None:
        client = await bench.client(await bench.upstream(serve))
        client.send(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\nsome")
        assert (await client.rest()).startswith(b"HTTP/1.1 413 No")

    with_bench(work)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_connection_goes_on_after_an_early_answer(with_bench: Any, chunked: bool) -> None:
    """An upstream that answers first and reads the body then is asked again over the same connection."""

    size = 1_000_000

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await head_of(reader)
        writer.write(OK)
        await reader.readuntil(b"b\r\n0\r\n\r\n") if chunked else await reader.readexactly(size)
        await head_of(reader)
        writer.write(OK)
        await reader.read()

    async def work(bench: Any) -> None:
        client = await bench.client(await bench.upstream(serve))
        framing = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % size
        client.send(b"POST / HTTP/1.1\r\nhost: h\r\n" + framing + b"\r\n\r\n")
        await client.until(OK)
        client.send(b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n" if chunked else b"x" * size)
        client.send(GET)
        await client.until(OK + OK)
        assert bench.accepted == 1

    with_bench(work)


def test_a_client_of_http_1_0_gets_no_trailers(with_bench: Any) -> None:
    """Trailers of a chunked answer are left out for whom they cannot be sent to."""

    async def work(bench: Any) -> None:
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-T: 1\r\n\r\n"
        client = await bench.client(await bench.upstream(answers(chunked)))
        client.send(b"GET / HTTP/1.0\r\nhost: h\r\n\r\n")
        assert (await client.rest()).endswith(b"\r\n\r\nab")

    with_bench(work)


def test_a_slow_client_slows_the_upstream(with_bench: Any) -> None:
    """Of an endless answer that nobody reads, only the buffers' worth is taken from the upstream."""

    sent = 0

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal sent
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    async def work(bench: Any) -> None:
        client = await bench.client(await bench.upstream(serve))
        client.transport.pause_reading()
        client.send(GET)
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.5)
        assert 0 < sent < 32 * 1024 * 1024

    with_bench(work)


def test_endless_provisional_answers_are_held_back(with_bench: Any) -> None:
    """Who says 103 for ever to a client that does not read is slowed, as with a body."""

    sent = 0

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal sent
        await head_of(reader)
        hint = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 1000
        while True:
            writer.write(hint)
            sent += len(hint)
            await writer.drain()

    async def work(bench: Any) -> None:
        client = await bench.client(await bench.upstream(serve))
        client.transport.pause_reading()
        client.send(GET)
        before = -1
        while sent != before and sent < 64 * 1024 * 1024:
            before = sent
            await asyncio.sleep(0.5)
        assert 0 < sent < 32 * 1024 * 1024

    with_bench(work)


def test_an_offer_of_http_2_is_ignored(with_bench: Any) -> None:
    """A client that would rather speak HTTP/2 gets HTTP/1.1; the upstream does not hear of the offer."""

    async def work(bench: Any) -> None:
        seen: list[bytes] = []
        client = await bench.client(await bench.upstream(answers(OK, OK, seen=seen)))
        offer = (
            b"Connection: keep-alive, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
        )
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n" + offer + b"X-A: b\r\n\r\n")
        assert await client.until(b"hi") == OK
        client.send(GET)
        await client.until(OK + OK)
        kept = b"GET / HTTP/1.1\r\nHost: h\r\nX-A: b\r\nconnection: keep-alive\r\n\r\n"
        assert seen == [kept, GET]

    with_bench(work)


@pytest.mark.parametrize("way", ["up", "down", "down, gathered"])
def test_a_body_in_tiny_chunks_lets_others_have_their_turn(with_bench: Any, way: str) -> None:
    """However many chunks come at once, the loop gets around between some hundreds of them."""

    count = 20_000
    tiny = b"transfer-encoding: chunked\r\n\r\n" + b"1\r\n1\r\n" * count + b"0\r\n\r\n"

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await head_of(reader)
        if way == "up":
            body = b""
            while not body.endswith(b"\r\n0\r\n\r\n"):
                body += await reader.read(65536)
            writer.write(OK)
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + tiny + OK)
        await reader.read()

    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def work(bench: Any) -> None:
        if way == "down, gathered":
            bench.fault("stale_results")
        client = await bench.client(await bench.upstream(serve))
        counting = asyncio.create_task(count_turns())
        if way == "up":
            client.send(b"POST / HTTP/1.1\r\nhost: h\r\n" + tiny)
        else:
            client.send(GET)
        await client.until(b"hi" if way == "up" else b"1" * 1000 if way != "down" else b"0\r\n\r\n")
        counting.cancel()
        assert turns > count / 300

    with_bench(work)
