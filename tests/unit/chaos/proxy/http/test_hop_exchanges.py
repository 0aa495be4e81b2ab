"""Any valid exchange passes the hop unchanged, however it is framed and however the network cuts it up."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from dataclasses import dataclass
from typing import Any

import h11
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sizes = st.lists(st.integers(1, 3000), min_size=1, max_size=4)


@dataclass(frozen=True)
class Message:
    """A request or an answer as its sender frames it."""

    start: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    framing: str
    pieces: tuple[int, ...]

    def encoded(self) -> bytes:
        framing = {
            "length": b"Content-Length: %d\r\n" % len(self.body),
            "chunked": b"transfer-encoding: Chunked\r\n",
            "none": b"",
        }[self.framing]
        head = (
            self.start
            + b"\r\n"
            + b"".join(b"%s: %s\r\n" % field for field in self.fields)
            + framing
            + b"\r\n"
        )
        if self.framing != "chunked":
            return head + self.body
        chunks = b"".join(b"%X\r\n%s\r\n" % (len(piece), piece) for piece in cut_up(self.body, self.pieces))
        return head + chunks + b"0\r\nX-Sum: 1\r\n\r\n"


def cut_up(data: bytes, sizes_: tuple[int, ...] | list[int]) -> list[bytes]:
    pieces, at, turn = [], 0, 0
    while at < len(data):
        pieces.append(data[at : at + sizes_[turn % len(sizes_)]])
        at, turn = at + len(pieces[-1]), turn + 1
    return pieces


fields = st.lists(
    st.tuples(
        st.sampled_from([b"X-A", b"x-b", b"Accept", b"COOKIE"]),
        st.binary(max_size=8).map(lambda raw: raw.hex().encode()),
    ),
    max_size=3,
).map(tuple)
bodies = st.one_of(st.binary(max_size=40), st.binary(max_size=9).map(lambda part: part * 60))
pieces = sizes.map(tuple)


@st.composite
def asked(draw: st.DrawFn) -> Message:
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"HEAD", b"QUERY"]))
    target = draw(st.sampled_from([b"/", b"/a?b=%20", b"*", b"http://h/x"]))
    framing = draw(st.sampled_from(["length", "chunked", "none"]))
    body = b"" if framing == "none" else draw(bodies)
    start = b"%s %s HTTP/1.1\r\nHost: h" % (method, target)
    return Message(start, draw(fields), body, framing, draw(pieces))


@st.composite
def answered(draw: st.DrawFn, head: bool) -> Message:
    status = draw(st.sampled_from([200, 206, 404, 500, 204, 304, 299]))
    start = b"HTTP/1.1 %d %s" % (status, draw(st.sampled_from([b"", b"OK", b"So it is"])))
    if status == 204:
        return Message(start, draw(fields), b"", "none", (1,))
    framing = draw(st.sampled_from(["length", "chunked"]))
    body = draw(bodies)
    message = Message(start, draw(fields), body, framing, draw(pieces))
    if head or status == 304:
        raw = message.encoded().partition(b"\r\n\r\n")[0].split(b"\r\n", 1)
        return Message(raw[0] + (b"\r\n" + raw[1] if len(raw) > 1 else b""), (), b"", "none", (1,))
    return message


exchanges = asked().flatmap(
    lambda request: st.tuples(st.just(request), answered(request.start.startswith(b"HEAD")))
)


def broken_off() -> bytes:
    raise AssertionError("the hop closed the upstream's connection in mid-request")


def heard(data: bytes, method: bytes | None = None) -> tuple[Any, ...] | None:
    """A message as h11 reads it: start line, headers, body, trailers; None while it is not whole.

    With a `method` it is the answer to such a request.
    """
    reader = h11.Connection(h11.SERVER if method is None else h11.CLIENT)
    if method is not None:
        reader.send(h11.Request(method=method, target="/", headers=[("host", "h")]))
        reader.send(h11.EndOfMessage())
    if data:
        reader.receive_data(data)
    start: Any = None
    body = b""
    while (event := reader.next_event()) is not h11.NEED_DATA:
        if isinstance(event, h11.Request):
            start = event.method, event.target, list(event.headers.raw_items())
        elif isinstance(event, h11.Response):
            start = event.status_code, event.reason, list(event.headers.raw_items())
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return start, body, list(event.headers.raw_items())
    return None


def test_any_exchange_passes(with_bench: Any) -> None:
    """Start lines, headers with their spelling, bodies and trailers are the same on both sides, twice."""

    @settings(max_examples=100, suppress_health_check=list(HealthCheck))
    @given(exchanges, sizes)
    def compare(exchange: tuple[Message, Message], cuts: list[int]) -> None:
        request, answer = exchange
        method = request.start.split()[0]
        asked_for: list[Any] = []
        said: list[Any] = []

        async def serve(reader: StreamReader, writer: StreamWriter) -> None:
            for _ in range(2):
                came = b""
                while heard(came) is None:
                    came += await reader.read(65536) or broken_off()
                asked_for.append(heard(came))
                for piece in cut_up(answer.encoded(), cuts):
                    writer.write(piece)
                    await asyncio.sleep(0)
            await reader.read()

        async def work(bench: Any) -> None:
            client = await bench.client(await bench.upstream(serve))
            for _ in range(2):
                client.data.clear()
                for piece in cut_up(request.encoded(), cuts):
                    client.send(piece)
                    await asyncio.sleep(0)
                async with asyncio.timeout(60):
                    while heard(bytes(client.data), method) is None:
                        await asyncio.sleep(0.01)
                said.append(heard(bytes(client.data), method))

        with_bench(work)
        assert asked_for == [heard(request.encoded())] * 2
        assert said == [heard(answer.encoded(), method)] * 2

    compare()
