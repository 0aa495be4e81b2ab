"""The reader of streamed answers: first word, stalls, and whether it really ended."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeys.outcome import Reading, Terminal
from journeys.stream import AnswerStream, whole_answer

META = {"outcome": "degraded", "degraded": [{"segment": "search"}], "citations": [{"id": "a"}, {"id": "b"}]}


def event(name: str, data: Any, end: str = "\n") -> list[bytes]:
    return [f"event: {name}{end}".encode(), f"data: {json.dumps(data)}{end}".encode(), end.encode()]


def token(text: str = "word ") -> list[bytes]:
    return event("token", {"text": text})


def read(*timed: tuple[float, list[bytes]], end_s: float) -> Reading:
    stream = AnswerStream()
    for at_s, lines in timed:
        for line in lines:
            stream.line(line, at_s)
    return stream.ended(end_s)


def test_an_answer_is_read_to_its_last_word() -> None:
    """First token, count, largest gap, claims and end are those of the stream."""
    reading = read(
        (1.0, event("meta", META)),
        (2.0, token()),
        (2.1, token()),
        (2.6, token()),
        (2.7, event("done", {"outcome": "degraded"})),
        end_s=9.0,
    )
    assert reading == Reading(
        terminal=Terminal.DONE,
        terminal_events=1,
        ended_s=2.7,
        first_token_s=2.0,
        largest_gap_s=pytest.approx(0.5),
        tokens=3,
        service_outcome="degraded",
        degraded=[{"segment": "search"}],
        citations=["a", "b"],
    )


def test_meta_and_empty_tokens_are_not_the_first_token() -> None:
    """Only text that a user can read ends their wait."""
    reading = read((1.0, event("meta", META)), (1.5, token("")), (3.0, token("x")), end_s=3.0)
    assert reading.first_token_s == 3.0
    assert reading.tokens == 1


def test_comments_do_not_break_a_silence() -> None:
    """Keep-alive pings are no progress: a stall behind them is still a stall."""
    reading = read((1.0, token()), (2.0, [b": ping\n", b"\n"]), (4.0, token()), end_s=4.0)
    assert reading.largest_gap_s == 3.0


def test_the_silence_before_a_cut_counts() -> None:
    """A stream that stalls and never speaks again shows its stall."""
    reading = read((1.0, token()), (1.1, token()), end_s=8.1)
    assert reading.largest_gap_s == pytest.approx(7.0)
    assert reading.terminal is None


def test_without_a_first_token_there_is_no_gap() -> None:
    """A stream that never began has no stall, only a late start."""
    reading = read((1.0, event("meta", META)), end_s=8.0)
    assert reading.largest_gap_s is None and reading.first_token_s is None and reading.tokens == 0


def test_an_error_event_is_the_end_and_keeps_what_was_claimed() -> None:
    """An in-band error ends the answer; the claim made before it is not unsaid."""
    reading = read(
        (1.0, event("meta", {"outcome": "full"})),
        (2.0, token()),
        (2.5, event("error", {"code": "llm_stalled", "message": "…", "partial": True})),
        end_s=3.0,
    )
    assert (reading.terminal, reading.service_outcome, reading.ended_s) == (Terminal.ERROR, "full", 2.5)


def test_done_may_correct_what_meta_claimed() -> None:
    """The last claim counts: an answer can degrade after it began."""
    reading = read(
        (1.0, event("meta", {"outcome": "full", "degraded": []})),
        (2.0, event("done", {"outcome": "degraded", "degraded": [{"segment": "generate"}]})),
        end_s=2.0,
    )
    assert reading.service_outcome == "degraded"
    assert reading.degraded == [{"segment": "generate"}]


def test_nothing_after_the_terminal_event_counts() -> None:
    """Tokens or a second end after the end change nothing, but a second end is counted."""
    whole = [(1.0, token()), (2.0, event("done", {"outcome": "full"}))]
    once, twice = read(*whole, end_s=2.0), read(*whole, (3.0, token()), (4.0, event("error", {})), end_s=5.0)
    assert twice == replace(once, terminal_events=2)


def test_half_a_terminal_event_is_no_end() -> None:
    """A `done` whose blank line never came was cut off."""
    assert read((1.0, token()), (2.0, event("done", {"outcome": "full"})[:-1]), end_s=2.0).terminal is None


names = st.sampled_from(["meta", "token", "done", "error", "unheard-of"])
events = st.lists(
    st.tuples(names, st.dictionaries(st.sampled_from(["text", "outcome"]), st.text())), max_size=20
)


@given(events)
def test_line_ends_and_noise_change_nothing(sent: list[tuple[str, dict[str, str]]]) -> None:
    """CRLF, comments, ids, retries and data over several lines read the same as the plain stream."""
    plain, noisy = AnswerStream(), AnswerStream()
    for at_s, (name, data) in enumerate(sent):
        for line in event(name, data):
            plain.line(line, at_s)
        spread = json.dumps(data, indent=1).split("\n")
        lines = [b": ping", b"id: 4", b"retry: 10", f"event:{name}".encode(), b"nonsense"]
        lines += [f"data:{part}".encode() for part in spread] + [b""]
        for line in lines:
            noisy.line(line + b"\r\n", at_s)
    assert noisy.ended(99) == plain.ended(99)


@given(st.lists(st.binary(max_size=30)))
def test_no_bytes_make_it_fall_over(lines: list[bytes]) -> None:
    """Whatever a broken service sends, the reader reads on."""
    stream = AnswerStream()
    for line in lines:
        for prefix in (b"", b"data: ", b"event: done\ndata: ", b"event: "):
            for part in (prefix + line).split(b"\n"):
                stream.line(part, 1.0)
        stream.line(b"", 1.0)
    assert stream.ended(1.0).tokens is not None


@given(
    gaps=st.lists(st.floats(0.001, 5), min_size=1, max_size=60),
    last_s=st.floats(0, 5),
)
def test_the_largest_gap_is_the_largest(gaps: list[float], last_s: float) -> None:
    """For any spacing of tokens, the gap reported is the largest one after the first token."""
    stream, at_s = AnswerStream(), 100.0
    for line in token():
        stream.line(line, at_s)
    for gap in gaps:
        at_s += gap
        for line in token():
            stream.line(line, at_s)
    reading = stream.ended(at_s + last_s)
    assert reading.tokens == len(gaps) + 1
    assert reading.largest_gap_s == pytest.approx(max(*gaps, last_s), abs=1e-9)


def test_a_whole_json_answer_is_done() -> None:
    """JSON with an answer and an outcome ends like a `done`, and has no tokens."""
    reading = whole_answer(json.dumps({"answer": "It is.", **META}).encode(), 3.0)
    assert (reading.terminal, reading.service_outcome, reading.citations) == (
        Terminal.DONE,
        "degraded",
        ["a", "b"],
    )
    assert reading.tokens is None and reading.ended_s == 3.0


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"{", b'{"answer": "x"}', b'{"outcome": "full"}', b"\xff"]
)
def test_a_body_that_is_no_answer_is_an_error(body: bytes) -> None:
    """A 200 without an answer, or one that does not say what it is, is no answer."""
    assert whole_answer(body, 1.0).terminal is Terminal.ERROR


@pytest.mark.parametrize("odd", [3, "x", None, {"id": 1}, [1, "a", {"title": "t"}]])
def test_claims_of_another_shape_are_no_claims(odd: Any) -> None:
    """A service that puts something else into a field is read as having said nothing there."""
    reading = read((1.0, event("meta", {"outcome": 3, "degraded": "yes", "citations": odd})), end_s=2.0)
    assert reading.service_outcome is None and reading.degraded is None
    assert not reading.citations
