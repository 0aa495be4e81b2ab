"""The SSE parser: the same data as the reference decoder, however the bytes are cut."""

from __future__ import annotations

import pytest
from httpx_sse._decoders import SSEDecoder
from hypothesis import given
from hypothesis import strategies as st

from rag_service.segments.event_stream import MOST_BYTES, EventStream, EventTooLong

LINES = st.one_of(
    st.sampled_from(
        ["", "data", "data:", "data: ", "data:x", "data:  two", ": ping", "event: token", "id: 7", "retry: 5"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x85\u2028\u2029"), max_size=12).map(
        lambda text: f"data: {text}"
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=8),
)
ENDINGS = st.sampled_from(["\n", "\r\n", "\r"])


def expected(lines):
    """What httpx_sse dispatches, less events that have no `data` (it knows ids and names too)."""
    decoder, found, has_data = SSEDecoder(), [], False
    for line in lines:
        event = decoder.decode(line)
        has_data = has_data or line.partition(":")[0] == "data"
        if event is not None:
            if has_data:
                found.append(event.data.encode())
            has_data = False
    return found


def fed(body, cuts):
    stream, found, before = EventStream(), [], 0
    for cut in [*sorted(cuts), len(body)]:
        found += stream.feed(body[before:cut])
        before = cut
    return found


@given(st.lists(st.tuples(LINES, ENDINGS), max_size=20), st.data())
def test_any_lines_cut_anywhere_give_the_reference_decoders_data(lines, data):
    """CRLF, CR, LF, comments, several data lines, split multi-byte characters: the same events."""
    body = b""
    for line, ending in lines:
        if ending == "\n" and body.endswith(b"\r") and not line:
            ending = "\r\n"  # a CR before an empty line that ends in LF would read as one CRLF
        body += line.encode() + ending.encode()
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=8))
    assert fed(body, cuts) == expected([line for line, _ in lines])


def test_the_reference_sees_events_at_all():
    """Negative control: the comparison above is not one of empty lists."""
    assert expected(["data: a", "data: b", "", ": ping", ""]) == [b"a\nb"]
    assert fed(b"data: a\r\ndata: b\r\n\r\n: ping\n\n", [3, 8, 9, 18]) == [b"a\nb"]


def test_a_byte_order_mark_is_no_part_of_the_first_event():
    """Also when it comes in two pieces."""
    assert fed("\ufeffdata: a\n\ndata: b\n\n".encode(), [1, 5]) == [b"a", b"b"]


def test_an_event_without_its_blank_line_never_happened():
    """A stream that was cut within an event gives no half of it."""
    assert fed(b"data: a\n\ndata: b\n", []) == [b"a"]


def test_an_event_without_end_is_refused():
    """Memory is bounded whatever a server sends."""
    stream = EventStream()
    with pytest.raises(EventTooLong):
        for _ in range(MOST_BYTES // 1000 + 2):
            stream.feed(b"x" * 1000)
