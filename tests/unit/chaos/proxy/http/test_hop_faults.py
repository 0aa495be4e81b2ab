"""Faults on requests through the hop, between raw sockets: what each side gets, what the evidence says."""

from __future__ import annotations

import asyncio
import json
from asyncio import StreamReader, StreamWriter
from typing import Any

import pytest

from tests.unit.chaos.proxy.http.raw_http import GET, OK, answers, head_of


def test_a_record_says_what_was_done_to_which_request(with_bench: Any) -> None:
    """A struck request is one record, with its place, status and trace; a spared one is none."""

    async def work(bench: Any) -> None:
        bench.fault("http_error", status=429, retry_after_s=1.5, path="/v1/*")
        client = await bench.client(await bench.upstream(answers(OK)))
        client.send(GET)
        await client.until(b"hi")
        trace = b"traceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-01\r\n"
        client.send(b"GET /v1/a?b HTTP/1.1\r\nhost: h\r\n" + trace + b"\r\n")
        assert b"retry-after: 2\r\n" in await client.until(b"}}")
        (record,) = bench.evidence.after(0, 10).records
        assert (record.proxy, record.connection, record.request) == ("p", 7, 2)
        assert (record.method, record.path, record.status) == ("GET", "/v1/a", 429)
        assert record.trace_id == "0123456789abcdef0123456789abcdef"
        assert [(strike.name, strike.note) for strike in record.faults] == [("http_error", "HTTP 429")]

    with_bench(work)


def test_an_own_answer_waits_for_the_body_and_keeps_the_connection(with_bench: Any) -> None:
    """A client that sends a body reads the error after it, and can ask again; the upstream is not asked."""

    async def work(bench: Any) -> None:
        bench.fault("http_error", status=500, body="no", count=1)
        client = await bench.client(await bench.upstream(answers(OK)))
        client.send(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nab")
        await asyncio.sleep(0.1)
        assert not client.data
        client.send(b"cd")
        await client.until(b"\r\n\r\nno")
        assert bench.accepted == 0
        client.send(GET)
        await client.until(b"hi")

    with_bench(work)


def test_an_own_answer_does_not_ask_for_a_body_that_waits(with_bench: Any) -> None:
    """Whoever waits for 100 Continue is told at once, and that the connection closes."""

    async def work(bench: Any) -> None:
        bench.fault("http_error", status=500)
        client = await bench.client(bench.nowhere())
        client.send(b"POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 500 ") and b"connection: close" in answer.lower()

    with_bench(work)


def test_a_changed_request_is_framed_anew(with_bench: Any) -> None:
    """The upstream gets the changed body with its own length, also from a chunked request that waited."""

    got: list[bytes] = []

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        head = await head_of(reader)
        got.append(head + await reader.readexactly(int(head.partition(b"ength: ")[2].split(b"\r")[0])))
        writer.write(OK)
        await reader.read()

    async def work(bench: Any) -> None:
        bench.fault("wrong_dimension")
        client = await bench.client(await bench.upstream(serve))
        client.send(
            b"POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        await client.until(b"100 \r\n\r\n")
        body = b'{"vectors":[[1,2,3,4]],"k":5}'
        client.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        await client.until(b"hi")
        head, _, body = got[0].partition(b"\r\n\r\n")
        assert json.loads(body) == {"vectors": [[1, 2]], "k": 5}
        assert b"chunked" not in head and b"expect" not in head

    with_bench(work)


def test_a_body_too_long_for_a_fault_passes_unchanged(with_bench: Any) -> None:
    """Beyond 8 MiB, request and answer stream through as they are, and no fault claims to have struck."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await head_of(reader)
        body = await reader.readexactly(size)
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % size
        )
        writer.write(body)
        await reader.read()

    size = 9 * 1024 * 1024

    async def work(bench: Any) -> None:
        bench.fault("wrong_dimension")
        bench.fault("malformed_json")
        client = await bench.client(await bench.upstream(serve))
        body = b"[" + b"1," * ((size - 2) // 2) + b"1]"[-(size % 2 + 1) :]
        body = body.ljust(size, b" ")
        client.send(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % size + body)
        while len(client.data) < size:
            await asyncio.sleep(0.01)
        assert bytes(client.data).partition(b"\r\n\r\n")[2] == body
        assert bench.evidence.after(0, 10).records == ()

    with_bench(work)


def test_a_truncated_stream_frees_the_upstream_and_keeps_the_client(with_bench: Any) -> None:
    """The body ends well, the upstream is let go at once, and the client's next request gets a new one."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await head_of(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        event = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
        for _ in range(3):
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        assert await reader.read() == b""
        gone.set()

    gone = asyncio.Event()

    async def work(bench: Any) -> None:
        bench.fault("truncate", after_tokens=2)
        client = await bench.client(await bench.upstream(serve))
        client.send(GET)
        data = await client.until(b"0\r\n\r\n")
        assert data.count(b"content") == 3  # the header's and two tokens'
        await gone.wait()
        client.send(GET)
        await client.until(data + data)
        assert bench.accepted == 2

    with_bench(work)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_cut_stream_ends_without_its_end(with_bench: Any, how: str) -> None:
    """After the tokens the connection is closed or reset; HTTP's end of the body does not come."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await head_of(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        event = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
        writer.write(b"%x\r\n%s\r\n" % (len(event) * 3, event * 3))
        await reader.read()

    async def work(bench: Any) -> None:
        bench.fault("cut", after_tokens=2, how=how)
        client = await bench.client(await bench.upstream(serve))
        client.send(GET)
        data = await client.rest()
        assert data.count(b"choices") == 2 and not data.endswith(b"0\r\n\r\n")
        assert client.was_reset is (how == "reset")

    with_bench(work)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (b"GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n", 400),
    ],
)
def test_an_error_that_is_not_sent_is_no_hit(with_bench: Any, asked: bytes, status: int) -> None:
    """Where the request is refused before the fault's own answer, nothing is recorded or counted."""

    async def work(bench: Any) -> None:
        bench.fault("http_error", status=503, count=1)
        client = await bench.client(bench.nowhere())
        client.send(asked)
        assert (await client.rest()).startswith(b"HTTP/1.1 %d " % status)
        assert bench.evidence.after(0, 10).records == ()
        (armed,) = bench.hop.faults.armed
        assert (armed.hits, armed.taken) == (0, 0)

    with_bench(work)


def test_an_error_for_a_client_that_leaves_is_no_hit(with_bench: Any) -> None:
    """Whoever hangs up while sending its body was told nothing."""

    async def work(bench: Any) -> None:
        bench.fault("http_error", status=503)
        client = await bench.client(bench.nowhere())
        client.send(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nab")
        await asyncio.sleep(0.1)
        client.transport.close()
        while bench.hop.open:
            await asyncio.sleep(0.1)
        assert bench.evidence.after(0, 10).records == ()

    with_bench(work)


def test_the_status_in_a_record_is_one_that_was_sent(with_bench: Any) -> None:
    """Where the upstream breaks off while its answer is gathered, there is no status: the client got none."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n[1")
        await asyncio.sleep(0.1)

    async def work(bench: Any) -> None:
        bench.fault("wrong_dimension")
        bench.fault("malformed_json")
        client = await bench.client(await bench.upstream(serve))
        body = b'{"vectors":[[1,2]]}'
        client.send(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        assert await client.rest() == b""
        (record,) = bench.evidence.after(0, 10).records
        assert (record.status, [strike.type for strike in record.faults]) == (None, ["wrong_dimension"])

    with_bench(work)


def test_a_stream_that_breaks_off_keeps_its_last_bytes(with_bench: Any) -> None:
    """Half an event that came before the upstream closed reaches the client, also past a fault on streams."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 900\r\n\r\n")
        writer.write(b"data: a\n\ndata: hal")

    async def work(bench: Any) -> None:
        bench.fault("stall", after_tokens=1)
        bench.fault("slow_tokens", delay_s=1.0)
        client = await bench.client(await bench.upstream(serve))
        client.send(GET)
        assert b"data: hal" in await client.rest()
        assert bench.evidence.after(0, 10).records == ()

    with_bench(work)


def test_a_path_counts_without_its_host(with_bench: Any) -> None:
    """A target in absolute form, as a client of forward proxies sends it, matches by its path."""

    async def work(bench: Any) -> None:
        bench.fault("http_error", status=500, path="/v1/*")
        client = await bench.client(await bench.upstream(answers(OK)))
        client.send(b"GET http://h:80/v1/a?b=http://c HTTP/1.1\r\nhost: h\r\n\r\n")
        await client.until(b"}}")
        (record,) = bench.evidence.after(0, 10).records
        assert (record.path, record.status) == ("/v1/a", 500)
        client.data.clear()
        client.send(b"GET /a/http://h/v1/b HTTP/1.1\r\nhost: h\r\n\r\n")
        await client.until(b"hi")

    with_bench(work)
