"""The client of bench-model-server counts what came, however it was cut into reads."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.token_streams import Counter, NoTokens, Shape, Stream, Streams, chat_request, shape_of

EVENT = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
ROLE = b'data: {"choices": [{"delta": {"role": "assistant", "content": ""}}]}\n\n'
DONE = b"data: [DONE]\n\n"


class Transport:
    """Remembers what was asked of it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    abort = close


def answer(events: list[bytes], status: int = 200) -> bytes:
    head = f"HTTP/1.1 {status} Whatever\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events) + b"0\r\n\r\n"


async def fed(data: bytes, cuts: list[int]) -> tuple[Stream, Transport]:
    stream, transport = Stream(b"ask"), Transport()
    stream.connection_made(cast(Any, transport))
    edges = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    for start, end in pairwise(edges):
        stream.data_received(data[start:end])
    await asyncio.sleep(0)
    return stream, transport


@given(st.lists(st.integers(0, 10_000), max_size=6))
def test_events_are_counted_however_they_are_cut(cuts: list[int]) -> None:
    """Two answers on one connection; it asks anew after each."""
    events = [ROLE, EVENT + EVENT, EVENT, DONE]

    async def twice() -> None:
        stream, transport = await fed(answer(events), cuts)
        stream.data_received(answer(events))
        await asyncio.sleep(0)
        assert (stream.events, stream.answers, stream.failed) == (10, 2, 0)
        assert transport.written == [b"ask"] * 3

    asyncio.run(twice())


def test_an_error_is_a_failure_and_no_answer() -> None:
    """A benchmark that counts refusals as answers measures nothing."""
    stream, _ = asyncio.run(fed(answer([b"{}"], status=503), []))
    assert (stream.answers, stream.failed, stream.events) == (0, 1, 0)


def test_one_that_asks_once_keeps_all_that_comes() -> None:
    """What arrives before its opener goes on is part of the answer, and no other is asked for."""

    async def kept() -> tuple[Shape, list[bytes], bool]:
        stream, transport = Stream(b"ask", once=True), Transport()
        stream.connection_made(cast(Any, transport))
        stream.data_received(answer([ROLE, EVENT, EVENT, DONE]))
        await asyncio.sleep(0)
        return shape_of(bytes(stream.body)), transport.written, transport.closed

    assert asyncio.run(kept()) == (Shape(2, 4), [b"ask"], True)


def test_an_answer_that_breaks_off_is_a_failure() -> None:
    """A server that closes connections in mid-answer has not answered; one that closes them between has."""

    async def closed() -> tuple[int, int]:
        broken, _ = await fed(answer([EVENT])[:-5], [])
        whole, _ = await fed(answer([EVENT]), [])
        whole.repeat = False
        whole.data_received(answer([EVENT]))
        for stream in (broken, whole):
            stream.connection_lost(None)
        return broken.failed, whole.failed

    assert asyncio.run(closed()) == (1, 0)


def test_sums_have_the_streams_that_are_gone_and_those_that_live() -> None:
    """A server that closes after each answer loses none of them."""

    async def sums() -> None:
        gone, living = Counter(), [(await fed(answer([EVENT, DONE]), []))[0] for _ in range(2)]
        gone.add((await fed(answer([EVENT]), []))[0])
        assert gone.with_all(living).events == 5
        assert gone.events == 1

    asyncio.run(sums())


@pytest.mark.parametrize(
    ("events", "tokens"), [([ROLE, EVENT, EVENT, DONE], 2), ([b"data: what\n\n"], 0), ([], 0)]
)
def test_only_events_with_text_are_tokens(events: list[bytes], tokens: int) -> None:
    """Neither the role nor the end is one."""
    assert shape_of(b"".join(events)) == Shape(tokens, len(events))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (answer([b"not here"], status=404), "no whole answer with tokens in what came.*not here"),
        (answer([ROLE, DONE]), "no whole answer with tokens"),
        (answer([EVENT])[:-5], "no whole answer within 0.1 s"),
    ],
    ids=["an error", "an answer without words", "a stream that stays open"],
)
def test_what_is_no_stream_of_tokens_is_named(
    said: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that cannot be measured is left out with what it said, and never waited for without end."""
    monkeypatch.setattr("bench.token_streams._ANSWER_LIMIT_S", 0.1)

    async def asked() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"ask")
            writer.write(said)
            await reader.read()  # until the client leaves
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            await Streams("127.0.0.1", port, b"ask").first_answer()

    with pytest.raises(NoTokens, match=message):
        asyncio.run(asked())


def test_the_request_is_one_that_a_server_can_read() -> None:
    """Its length is right and it asks for exactly so many tokens."""
    head, body = chat_request("h", 1, "m", 7).split(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert json.loads(body)["max_tokens"] == 7
