"""The splitter changes no byte, whatever the pieces, and cuts where the grammar says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.proxy.http.sse import MAX_EVENT_BYTES, SseEvent, SseSplitter

texts = st.lists(st.sampled_from([b"data: x", b":", b"\n", b"\r", b"\r\n", b"\n\n", b"{}", b"\x00"])).map(
    b"".join
)


def cut_up(data: bytes, sizes: list[int]) -> list[bytes]:
    """`data` in pieces of these sizes, over and over."""
    pieces, at, turn = [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)] if sizes else len(data)
        pieces.append(data[at : at + size])
        at, turn = at + size, turn + 1
    return pieces


def split(pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    splitter = SseSplitter()
    return [event for piece in pieces for event in splitter.feed(piece)], splitter.rest()


@given(st.one_of(texts, st.binary()), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_events_are_the_bytes_that_came_and_do_not_depend_on_the_pieces(
    data: bytes, sizes: list[int]
) -> None:
    """Events and rest are the input, byte for byte, and the same for any cutting of it."""
    events, rest = split(cut_up(data, sizes))
    assert b"".join(events) + rest == data
    assert (events, rest) == split([data] if data else [])


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\n\n", b"\n\r\n"])
def test_a_blank_line_ends_an_event(end: bytes) -> None:
    """An event is given out with its blank line, at once, in every common spelling of a line end."""
    splitter = SseSplitter()
    assert splitter.feed(b"data: a" + end + b"data: b") == [b"data: a" + end]
    assert splitter.rest() == b"data: b"


def test_a_line_end_is_not_a_blank_line() -> None:
    """CR LF is one line end, not two."""
    splitter = SseSplitter()
    assert splitter.feed(b"data: a\r\n") + splitter.feed(b"data: b\r\n") == []


def test_an_event_without_end_does_not_grow_for_ever() -> None:
    """Beyond the longest event, what is there passes, and nothing is lost."""
    splitter = SseSplitter()
    piece = b"x" * (MAX_EVENT_BYTES // 2 + 1)
    assert splitter.feed(piece) == []
    assert b"".join(splitter.feed(piece)) == piece * 2
    assert splitter.rest() == b""


@pytest.mark.parametrize(
    ("raw", "has_token", "is_end"),
    [
        (b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":null}]}\n\n', True, False),
        (b'data:{"choices":[{"delta":{"reasoning_content":"a"}}]}\r\n\r\n', True, False),
        (b'data: {"choices":[{"text":"a"}]}\n\n', True, False),
        (b'data: {"choices":[{"delta":{"tool_calls":[{}]}}]}\n\n', True, False),
        (
            b'data: {"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n',
            False,
            False,
        ),
        (b'data: {"choices":[{"delta":{"content":""},"finish_reason":"stop"}]}\n\n', False, True),
        (b'data: {"choices":[{"delta":{"content":"z"},"finish_reason":"stop"}]}\n\n', True, True),
        (b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n', False, True),
        (b'data: {"error":{"message":"x"}}\n\n', False, True),
        (b"data: [DONE]\n\n", False, True),
        (b": ping\n\n", False, False),
        (b"event: x\ndata: {broken\n\n", False, False),
        (b'data: {"choices":"no list"}\n\n', False, False),
        (b'data: {"choices":["no object"]}\n\n', False, False),
        (b"data: [1]\n\n", False, False),
        (b"", False, False),
    ],
)
def test_tokens_and_ends_are_told_apart(raw: bytes, has_token: bool, is_end: bool) -> None:
    """A token brings text; an end brings a finish reason, the usage, an error or `[DONE]`."""
    event = SseEvent(raw)
    assert (event.has_token, event.is_end) == (has_token, is_end)


def test_data_lines_are_joined() -> None:
    """Several data lines are one text, with the one space after the colon taken off."""
    assert SseEvent(b"event: e\ndata: a\ndata\ndata:  b\n\n").data == b"a\n\n b"


@given(st.binary())
def test_looking_into_an_event_never_fails(raw: bytes) -> None:
    """Whatever the bytes, an event has an answer."""
    event = SseEvent(raw)
    assert isinstance(event.has_token, bool)
    assert isinstance(event.is_end, bool)


def test_deep_json_is_no_object() -> None:
    """JSON too deep for the parser is no event of a model server, and no crash."""
    assert SseEvent(b'data: {"a":' + b"[" * 200_000 + b"\n\n").json() is None
