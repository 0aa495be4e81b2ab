"""Each fault on made-up answers: what it does, what it says it did, and what it leaves alone."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.proxy.http import faults as faults_package
from chaos.proxy.http.faults import BadFaultError, http_fault_kinds
from chaos.proxy.http.faults.malformed_json import MalformedJson, _cut, _garbled
from chaos.proxy.http.faults.shuffled_results import _shuffled
from chaos.proxy.http.passage import CutError, Headers, RequestHead

SSE = "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"


def token(text: str, finish_reason: str | None = None) -> bytes:
    """An event as a model server streams it."""
    end = f'"{finish_reason}"' if finish_reason else "null"
    choice = f'{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":{end}}}'
    return f'data: {{"id":"c","object":"chat.completion.chunk","choices":[{choice}]}}\n\n'.encode()


STREAM = [token(""), *(token(text) for text in "abcdef"), token("", "stop"), DONE]
"""An opening event, six tokens, the finish and `[DONE]`."""
NAMES = [
    "cut",
    "done_after_abort",
    "empty_results",
    "http_error",
    "malformed_chunk",
    "malformed_json",
    "shuffled_results",
    "slow_body",
    "slow_first_token",
    "slow_tokens",
    "stale_results",
    "stall",
    "truncate",
    "wrong_dimension",
]
SEARCH = json.dumps(
    {
        "stamp": "s",
        "results": [[{"id": "a", "score": 0.9}, {"id": "b", "score": 0.5}, {"id": "c", "score": 0.1}]],
    }
).encode()
AFTER_TOKENS = ["stall", "cut", "truncate", "malformed_chunk", "done_after_abort"]


def stream_fault(type_: str) -> dict[str, Any]:
    """What a fault on streams needs at least."""
    return {"after_tokens": 2} if type_ in AFTER_TOKENS else {"delay_s": 1.0}


def test_the_faults_are_those_of_the_plan() -> None:
    """Each type has a file of its name, and each docstring of a file begins with it."""
    assert list(http_fault_kinds()) == NAMES
    folder = Path(faults_package.__file__ or "").parent
    for name in NAMES:
        assert (folder / f"{name}.py").read_text().startswith(f'"""{name}: ')


@pytest.mark.parametrize("type_", [*AFTER_TOKENS, "slow_first_token", "slow_tokens"])
def test_a_stream_fault_leaves_other_answers_alone(run: Any, faulted: Any, type_: str) -> None:
    """An answer that is no event stream passes as it is, leaves no trace and uses up no count."""
    faulted.add(type_, count=1, **stream_fault(type_))
    told = run(faulted.ask([SEARCH]))
    assert (told.body, told.strikes) == (SEARCH, [])
    told = run(faulted.ask(STREAM, content_type=SSE, for_s=60))
    assert len(told.strikes) == 1


@pytest.mark.parametrize("type_", ["malformed_json", "empty_results", "shuffled_results", "stale_results"])
def test_a_json_fault_leaves_streams_alone(run: Any, faulted: Any, type_: str) -> None:
    """A stream passes as it is, piece by piece, and leaves no trace."""
    faulted.add(type_)
    told = run(faulted.ask([STREAM[0], 1.0, b"".join(STREAM[1:])], content_type=SSE))
    assert (told.pieces, told.strikes) == ([(0, STREAM[0]), (1.0, b"".join(STREAM[1:]))], [])


@pytest.mark.parametrize("type_", NAMES)
def test_a_compressed_answer_is_left_alone(run: Any, faulted: Any, type_: str) -> None:
    """What cannot be read is not cut apart; faults that need not read it strike all the same."""
    delayed = type_.startswith("slow_")
    faulted.add(type_, **(stream_fault(type_) if delayed or type_ in AFTER_TOKENS else {}))
    is_stream = type_ in AFTER_TOKENS or type_ in ("slow_first_token", "slow_tokens")
    pieces = STREAM if is_stream else [SEARCH]
    content_type = SSE if is_stream else "application/json"

    async def ask_twice() -> Any:  # the second time there is an old answer to be stale with
        await faulted.ask(pieces, content_type=content_type, encoding="gzip", for_s=60)
        return await faulted.ask(pieces, content_type=content_type, encoding="gzip", for_s=60)

    told = run(ask_twice())
    if type_ == "http_error":
        assert told.status == 503
    else:
        assert told.body == b"".join(pieces)
    assert bool(told.strikes) is (type_ in ("http_error", "slow_body"))


def test_http_error_answers_in_the_upstreams_place(run: Any, faulted: Any) -> None:
    """Status, body and Retry-After are as asked; the upstream is not."""
    faulted.add("http_error", status=429, body='{"a":1}', retry_after_s=0.2)
    told = run(faulted.ask([SEARCH]))
    assert (told.status, told.body, told.upstream_asked) == (429, b'{"a":1}', False)
    assert told.headers.get(b"retry-after") == b"1"
    assert told.headers.media_type == b"application/json"
    assert [strike.note for strike in told.strikes] == ["HTTP 429"]


def test_http_error_has_a_body_that_clients_understand(run: Any, faulted: Any) -> None:
    """Without a body it says `error`, with a message and the code; plain text is said to be text."""
    faulted.add("http_error")
    told = run(faulted.ask([]))
    assert told.status == 503
    assert json.loads(told.body)["error"]["code"] == 503
    assert told.headers.get(b"retry-after") is None
    faulted.faults.clear()
    faulted.add("http_error", body="sorry")
    assert run(faulted.ask([])).headers.media_type == b"text/plain"


def test_the_first_of_two_errors_is_heard(run: Any, faulted: Any) -> None:
    """Faults act in the order of adding; the one that is not heard has not struck."""
    faulted.add("http_error", "first", status=500)
    faulted.add("http_error", "second", status=501, count=1)
    told = run(faulted.ask([]))
    assert (told.status, [strike.name for strike in told.strikes]) == (500, ["first"])
    faulted.faults.remove("first")
    assert run(faulted.ask([])).status == 501


def test_faults_add_up(run: Any, faulted: Any) -> None:
    """An error's body can be slow and broken, too."""
    faulted.add("http_error", status=500, body="[1,2,3,4]")
    faulted.add("malformed_json")
    faulted.add("slow_body", delay_s=2.0)
    told = run(faulted.ask([]))
    assert (told.status, told.pieces) == (500, [(2.0, b"[1,2")])
    assert told.headers.get(b"content-length") == b"4"
    assert len(told.strikes) == 3


def test_slow_body_delays_the_body(run: Any, faulted: Any) -> None:
    """The first byte comes late by `delay_s`, and the delay is in the record; an empty body has none."""
    faulted.add("slow_body", delay_s=3.0)
    told = run(faulted.ask([1.0, b"a", 1.0, b"b"]))
    assert told.pieces == [(4.0, b"a"), (5.0, b"b")]
    strike = told.strikes[0]
    assert (strike.delay_s, strike.bytes) == (pytest.approx(3.0), 1)  # the second was not held
    assert strike.last_s - strike.first_s == pytest.approx(3.0)
    assert run(faulted.ask([])).strikes == []


def test_slow_body_limits_the_rate(run: Any, faulted: Any) -> None:
    """A body of 1,000 bytes at 100 a second takes 10 s, evenly, and is whole."""
    faulted.add("slow_body", bytes_per_s=100.0)
    body = bytes(range(250)) * 4
    told = run(faulted.ask([body]))
    assert told.body == body
    assert told.pieces[-1][0] == pytest.approx(10.0)
    assert all(at_s * 100 >= (number + 1) * 5 - 0.1 for number, (at_s, _) in enumerate(told.pieces))


def test_slow_body_that_is_too_fast_to_be_felt_is_no_hit(run: Any, faulted: Any) -> None:
    """Fewer bytes than pass in a millisecond were not slowed, and no record says so."""
    faulted.add("slow_body", bytes_per_s=1e9)
    told = run(faulted.ask([b"x" * 1000]))
    assert (told.pieces, told.strikes) == ([(0.0, b"x" * 1000)], [])


def test_slow_body_keeps_its_rate_in_small_pieces(run: Any, faulted: Any) -> None:
    """A body in pieces too small for a timer takes as long as one in large ones."""
    faulted.add("slow_body", bytes_per_s=10_000.0)
    told = run(faulted.ask([b"x"] * 5000))
    assert told.pieces[-1][0] == pytest.approx(0.5, abs=0.002)
    assert told.strikes[0].bytes == pytest.approx(5000, abs=10)


def test_removing_a_fault_lets_go_what_it_holds(run: Any, faulted: Any) -> None:
    """A slow body and a stall end when their fault is removed: the rest passes at once."""

    async def removed_after(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        faulted.faults.remove(name)

    async def both(type_: str, pieces: list[Any], content_type: str, **attributes: Any) -> Any:
        faulted.add(type_, **attributes)
        removing = asyncio.create_task(removed_after(type_, 5.0))
        told = await faulted.ask(pieces, content_type=content_type)
        await removing
        return told

    slow = run(both("slow_body", [b"x" * 1000], "text/plain", bytes_per_s=10.0))
    assert (slow.body, slow.pieces[-1][0]) == (b"x" * 1000, 5.0)
    stalled = run(both("stall", STREAM, SSE, after_tokens=3))
    assert (stalled.events, stalled.pieces[-1][0]) == (STREAM, 5.0)
    assert stalled.strikes[0].delay_s == pytest.approx(5.0)
    pinged = run(both("stall", STREAM, SSE, after_tokens=3, ping_s=2.0))
    assert [event for event in pinged.events if event != b": ping\n\n"] == STREAM
    assert len(pinged.events) == len(STREAM) + 2


@pytest.mark.parametrize(
    ("type_", "content_type", "attributes"),
    [
        ("slow_body", "text/plain", {"delay_s": 9.0}),
        ("slow_body", "text/plain", {"bytes_per_s": 10.0}),
        *(
            (type_, "application/json", {})
            for type_ in ("malformed_json", "empty_results", "shuffled_results")
        ),
        *((type_, SSE, {"after_tokens": 0}) for type_ in ("stall", "cut", "truncate", "malformed_chunk")),
        ("done_after_abort", SSE, {"after_tokens": 0}),
        ("slow_first_token", SSE, {"delay_s": 9.0}),
        ("slow_tokens", SSE, {"delay_s": 9.0}),
    ],
)
def test_a_fault_that_is_gone_does_nothing_more(
    run: Any, faulted: Any, type_: str, content_type: str, attributes: dict[str, Any]
) -> None:
    """An answer that begins after the removal passes as it is, and is neither recorded nor counted."""
    pieces = STREAM if content_type == SSE else [SEARCH[:10], SEARCH[10:]]
    faulted.add(type_, **attributes)
    (armed,) = faulted.faults.armed

    async def removed_while_the_upstream_thinks() -> Any:
        asking = asyncio.create_task(faulted.ask([2.0, *pieces], content_type=content_type))
        await asyncio.sleep(1.0)
        faulted.faults.clear()
        return await asking

    told = run(removed_while_the_upstream_thinks())
    assert (told.body, told.strikes, armed.hits) == (b"".join(pieces), [], 0)
    assert told.pieces[-1][0] == 2.0


def test_a_request_whose_fault_is_gone_keeps_its_body(faulted: Any) -> None:
    """`wrong_dimension` that is removed while the body is still coming leaves it alone."""
    faulted.add("wrong_dimension")
    struck = faulted.faults.begin(RequestHead("POST", "/", Headers([])))
    faulted.faults.clear()
    assert struck.passage.change_request(b'{"vectors":[[1,2]]}') is None
    assert struck.passage.strikes() == []


def test_an_answer_that_is_gathered_goes_on_when_its_fault_is_gone(run: Any, faulted: Any) -> None:
    """Slow JSON is held until it is whole; a removal lets go what has come, with the next piece."""
    faulted.add("empty_results")

    async def removed_in_the_middle() -> Any:
        asking = asyncio.create_task(faulted.ask([SEARCH[:10], 2.0, SEARCH[10:20], 2.0, SEARCH[20:]]))
        await asyncio.sleep(1.0)
        faulted.faults.clear()
        return await asking

    told = run(removed_in_the_middle())
    assert told.pieces == [(2.0, SEARCH[:20]), (4.0, SEARCH[20:])]
    assert told.strikes == []


HALF_A_LETTER = b'{"results":[[{"id":"\\ud83d"},{"id":"\xc3\xa9"}]]}'


@pytest.mark.parametrize(
    ("type_", "ids"), [("shuffled_results", {"\ud83d", "\xe9"}), ("empty_results", set())]
)
def test_half_a_letter_is_no_harm(run: Any, faulted: Any, type_: str, ids: set[str]) -> None:
    """JSON may hold half a surrogate pair, as a text cut in the middle of an emoji does; it stays."""
    faulted.add(type_)
    told = run(faulted.ask([HALF_A_LETTER]))
    assert {each["id"] for each in json.loads(told.body)["results"][0]} == ids
    assert len(told.strikes) == 1


def test_half_a_letter_in_requests_and_streams(run: Any, faulted: Any) -> None:
    """The same for a request's body, and for the last event before an early end."""
    faulted.add("wrong_dimension")
    told = run(faulted.ask([], request=b'{"vectors":[[1,2]],"text":"\\ud83d"}'))
    assert json.loads(told.request_body) == {"vectors": [[1]], "text": "\ud83d"}
    faulted.faults.clear()
    faulted.add("done_after_abort", after_tokens=1)
    told = run(faulted.ask([token("\\ud83d"), *STREAM], content_type=SSE))
    assert told.error is None and told.events[-1] == DONE


def test_a_body_that_is_nested_too_deep_is_text(run: Any, faulted: Any) -> None:
    """An error's body that cannot be read as JSON is sent all the same."""
    faulted.add("http_error", body="[" * 60_000)
    told = run(faulted.ask([]))
    assert (told.status, told.headers.media_type) == (503, b"text/plain")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_malformed_json_never_parses(value: Any) -> None:
    """Cut or garbled, no JSON is left, and garbling keeps the length."""
    body = json.dumps(value).encode()
    garbled = _garbled(body, random.Random(1))
    for spoilt in (_cut(body), garbled):
        with pytest.raises(ValueError):
            json.loads(spoilt)
    assert len(garbled) == len(body)


@pytest.mark.parametrize("how", ["cut", "garbled"])
def test_malformed_json_is_framed_well(run: Any, faulted: Any, how: str) -> None:
    """The content length is that of what is sent."""
    faulted.add("malformed_json", how=how)
    told = run(faulted.ask([SEARCH[:10], SEARCH[10:]]))
    assert told.headers.get(b"content-length") == str(len(told.body)).encode()
    assert told.body != SEARCH and told.status == 200
    assert len(told.strikes) == 1 and MalformedJson.type == told.strikes[0].type


def test_empty_results(run: Any, faulted: Any) -> None:
    """Every list is empty, the rest of the answer is as it was, and what was taken is counted."""
    faulted.add("empty_results")
    told = run(faulted.ask([SEARCH]))
    assert json.loads(told.body) == {"stamp": "s", "results": [[]]}
    assert told.headers.get(b"content-length") == str(len(told.body)).encode()
    assert told.strikes[0].note == "3 results taken away"


@pytest.mark.parametrize(
    ("key", "body", "after"),
    [
        ("result.points", {"result": {"points": [{"id": 1}]}}, {"result": {"points": []}}),
        ("result", {"result": [{"id": 1}]}, {"result": []}),
        ("results", {"results": [[{"id": 1}], []]}, {"results": [[], []]}),
    ],
)
def test_the_key_says_where_the_results_are(run: Any, faulted: Any, key: str, body: Any, after: Any) -> None:
    """Lists of objects, lists of lists and lists one object down are found by `key`."""
    faulted.add("empty_results", key=key)
    assert json.loads(run(faulted.ask([json.dumps(body).encode()])).body) == after


@pytest.mark.parametrize("type_", ["empty_results", "shuffled_results"])
@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"no json", b'{"results":3}', b'{"results":[]}', b'{"results":[[]]}']
)
def test_an_answer_without_results_passes(run: Any, faulted: Any, type_: str, body: bytes) -> None:
    """Nothing to act on is no strike, and the body keeps its bytes."""
    faulted.add(type_)
    told = run(faulted.ask([body]))
    assert (told.body, told.strikes) == (body, [])


@given(st.lists(st.integers(), min_size=2, max_size=9, unique=True), st.integers())
def test_shuffled_results_keep_scores_in_place(ids: list[int], seed: int) -> None:
    """The same documents in another order, always another; scores and their order are untouched."""
    items = [{"id": each, "score": -place} for place, each in enumerate(ids)]
    shuffled = _shuffled(items, random.Random(seed))
    assert [each["id"] for each in shuffled] != ids
    assert sorted(each["id"] for each in shuffled) == sorted(ids)
    assert [each["score"] for each in shuffled] == [-place for place in range(len(ids))]


def test_shuffled_results(run: Any, faulted: Any) -> None:
    """The answer has the order of the shuffle and says how many were moved."""
    faulted.add("shuffled_results")
    told = run(faulted.ask([SEARCH]))
    (results,) = json.loads(told.body)["results"]
    assert [each["score"] for each in results] == [0.9, 0.5, 0.1]
    assert [each["id"] for each in results] != ["a", "b", "c"]
    assert told.strikes[0].note == "3 results in another order"


def test_wrong_dimension_halves_vectors(run: Any, faulted: Any) -> None:
    """Each vector of the request loses its second half; the note has both lengths."""
    faulted.add("wrong_dimension")
    told = run(faulted.ask([SEARCH], request=b'{"vectors": [[1, 2.5, 3, 4], [5, 6, 7, 8]], "k": 3}'))
    assert json.loads(told.request_body) == {"vectors": [[1, 2.5], [5, 6]], "k": 3}
    assert (told.body, told.strikes[0].note) == (SEARCH, "vectors of 4 numbers cut to 2")
    faulted.add("wrong_dimension", "flat", key="vector")
    assert json.loads(run(faulted.ask([], request=b'{"vector": [1, 2]}')).request_body) == {"vector": [1]}


@pytest.mark.parametrize(
    "body", [b"", b"no json", b"[]", b"{}", b'{"vectors":[[1]]}', b'{"vectors":[["a","b"]]}']
)
def test_a_request_without_vectors_passes(run: Any, faulted: Any, body: bytes) -> None:
    """Nothing to halve is no strike."""
    faulted.add("wrong_dimension")
    told = run(faulted.ask([], request=body))
    assert (told.request_body, told.strikes) == (body, [])


def test_stale_results_lag(run: Any, faulted: Any) -> None:
    """An answer is the one of `behind` before on its path; paths do not mix, errors are not kept."""
    faulted.add("stale_results", behind=2)

    def got(body: bytes, path: str = "/a", status: int = 200) -> bytes:
        return bytes(run(faulted.ask([body], path=path, status=status)).body)

    assert [got(b"%d" % number) for number in range(5)] == [b"0", b"1", b"0", b"1", b"2"]
    assert got(b"9", path="/b") == b"9"
    assert got(b"8", status=500) == b"8"
    assert got(b"5") == b"3"


def test_stale_results_count_only_what_they_made_stale(run: Any, faulted: Any) -> None:
    """The answers that have to pass first use up no count; answers that are spared are kept all the same."""
    faulted.add("stale_results", count=1)
    assert [run(faulted.ask([body])).body for body in (b"1", b"2", b"3")] == [b"1", b"1", b"3"]


def test_the_same_answer_again_is_not_stale(run: Any, faulted: Any) -> None:
    """Where nothing has changed in between, the client gets what it would have got: no strike."""
    faulted.add("stale_results", count=1)
    told = [run(faulted.ask([body])) for body in (b"1", b"1", b"2")]
    assert [(each.body, len(each.strikes)) for each in told] == [(b"1", 0), (b"1", 0), (b"1", 1)]


def test_results_that_are_all_alike_are_not_shuffled(run: Any, faulted: Any) -> None:
    """Another order of the same things is the same list: no strike, and the bytes stay."""
    faulted.add("shuffled_results")
    body = b'{"results": [{"id": 1, "score": 0.5}, {"id": 1, "score": 0.4}]}'
    told = run(faulted.ask([body]))
    assert (told.body, told.strikes) == (body, [])


def test_stale_results_forget_short_answers_too(run: Any, faulted: Any) -> None:
    """Many paths with answers of a byte have a bound as well: what keeping one takes is counted."""
    faulted.add("stale_results")
    (armed,) = faulted.faults.armed

    async def ask_many() -> None:
        for number in range(10_000):
            await faulted.ask([b"1"], path=f"/{number}")

    run(ask_many())
    assert len(armed.fault._kept) < 9_000


def test_stale_results_forget(run: Any, faulted: Any) -> None:
    """What is kept has a bound: beyond 16 MiB the path that was quiet for longest is forgotten."""
    faulted.add("stale_results")
    big = b"[" + b" " * (5 * 1024 * 1024) + b"]"
    for path in ("/a", "/b", "/c", "/d"):
        assert run(faulted.ask([big], path=path)).strikes == []
    assert run(faulted.ask([b"1"], path="/a")).body == b"1"
    assert run(faulted.ask([b"1"], path="/d")).body == big


def test_slow_first_token(run: Any, faulted: Any) -> None:
    """The opening comes in time, the first token late, the others right behind it."""
    faulted.add("slow_first_token", delay_s=4.0)
    told = run(faulted.ask(STREAM, content_type=SSE))
    assert told.pieces == [(0.0 if number == 0 else 4.0, event) for number, event in enumerate(STREAM)]
    assert told.strikes[0].delay_s == pytest.approx(4.0)
    assert told.headers.get(b"content-length") is None


def test_slow_tokens(run: Any, faulted: Any) -> None:
    """Every token after the first waits; the delay is their sum."""
    faulted.add("slow_tokens", delay_s=0.5)
    told = run(faulted.ask(STREAM, content_type=SSE))
    assert [at_s for at_s, _ in told.pieces] == [0, 0, 0.5, 1.0, 1.5, 2.0, 2.5, 2.5, 2.5]
    assert told.body == b"".join(STREAM)
    assert told.strikes[0].delay_s == pytest.approx(2.5)


@pytest.mark.parametrize("after", [0, 3, 6])
def test_stall(run: Any, faulted: Any, after: int) -> None:
    """Nothing comes after the tokens until the client gives up, and the record has how long that was."""
    faulted.add("stall", after_tokens=after)
    told = run(faulted.ask(STREAM, content_type=SSE, for_s=30))
    assert told.events == STREAM[: after + 1]
    assert isinstance(told.error, TimeoutError)
    assert told.strikes[0].delay_s == pytest.approx(30.0)


def test_stall_for_a_while(run: Any, faulted: Any) -> None:
    """With `for_s` the rest comes afterwards; with `ping_s` comments come meanwhile."""
    faulted.add("stall", after_tokens=3, for_s=10.0, ping_s=4.0)
    told = run(faulted.ask(STREAM, content_type=SSE))
    pings = [(at_s, piece) for at_s, piece in told.pieces if piece == b": ping\n\n"]
    assert [at_s for at_s, _ in pings] == [4.0, 8.0]
    assert [piece for _, piece in told.pieces if piece != b": ping\n\n"] == STREAM
    assert told.pieces[-1][0] == pytest.approx(10.0)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_cut(run: Any, faulted: Any, how: str) -> None:
    """The tokens come, then the connection is to end that way."""
    faulted.add("cut", after_tokens=2, how=how)
    told = run(faulted.ask(STREAM, content_type=SSE))
    assert told.events == STREAM[:3]
    assert isinstance(told.error, CutError)
    assert told.error.with_reset is (how == "reset")


def test_truncate(run: Any, faulted: Any) -> None:
    """The body ends well after the tokens, without finish reason and `[DONE]`."""
    faulted.add("truncate", after_tokens=2)
    told = run(faulted.ask(STREAM, content_type=SSE))
    assert (told.events, told.error) == (STREAM[:3], None)


def test_malformed_chunk(run: Any, faulted: Any) -> None:
    """One event more, that is no JSON; all others are there."""
    faulted.add("malformed_chunk", after_tokens=2)
    told = run(faulted.ask(STREAM, content_type=SSE))
    broken = told.events[3]
    with pytest.raises(ValueError):
        json.loads(broken.removeprefix(b"data: "))
    assert told.events[:3] + told.events[4:] == STREAM


@pytest.mark.parametrize("after", [0, 2])
def test_done_after_abort(run: Any, faulted: Any, after: int) -> None:
    """The tokens, an event with `abort` in the stream's own form, `[DONE]`, and no more."""
    faulted.add("done_after_abort", after_tokens=after)
    told = run(faulted.ask(STREAM, content_type=SSE))
    assert told.events[: after + 1] == STREAM[: after + 1]
    finish, done = told.events[after + 1 :]
    value = json.loads(finish.removeprefix(b"data: "))
    assert value["id"] == "c" and value["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "abort"}
    assert done == DONE


def test_done_without_a_reason(run: Any, faulted: Any) -> None:
    """An empty `finish_reason` leaves `[DONE]` alone."""
    faulted.add("done_after_abort", after_tokens=1, finish_reason="")
    assert run(faulted.ask(STREAM, content_type=SSE)).events == [*STREAM[:2], DONE]


@pytest.mark.parametrize("type_", AFTER_TOKENS)
def test_an_answer_that_is_shorter_is_spared(run: Any, faulted: Any, type_: str) -> None:
    """A fault that waits for more tokens than there are does nothing and uses up no count."""
    faulted.add(type_, after_tokens=7, count=1)
    for _ in range(2):
        told = run(faulted.ask(STREAM, content_type=SSE))
        assert (told.events, told.strikes) == (STREAM, [])


def test_stream_faults_add_up(run: Any, faulted: Any) -> None:
    """A late first token and an early end, each with its own strike."""
    faulted.add("slow_first_token", delay_s=2.0)
    faulted.add("truncate", after_tokens=1)
    told = run(faulted.ask(STREAM, content_type=SSE))
    assert told.pieces == [(0, STREAM[0]), (2.0, STREAM[1])]
    assert [strike.type for strike in told.strikes] == ["slow_first_token", "truncate"]


def test_tokens_in_one_piece_are_told_apart(run: Any, faulted: Any) -> None:
    """Events are counted one by one, however they came."""
    faulted.add("truncate", after_tokens=2)
    whole = b"".join(STREAM)
    told = run(faulted.ask([whole[:17], whole[17:200], whole[200:]], content_type=SSE))
    assert told.events == STREAM[:3]
    assert token("a") == STREAM[1]


@pytest.mark.parametrize(
    ("type_", "attributes", "said"),
    [
        ("http_error", {"status": 399}, "status is 399; allowed is a whole number from 400 to 599"),
        ("http_error", {"status": 503.0}, "a whole number"),
        ("http_error", {"status": True}, "True"),
        ("http_error", {"body": 3}, "a text of at most 65536 characters"),
        ("http_error", {"retry_after_s": -1}, "from 0 to 600"),
        ("slow_body", {}, "needs delay_s above 0, or bytes_per_s"),
        ("slow_body", {"delay_s": 601}, "from 0 to 600"),
        ("slow_body", {"bytes_per_s": float("nan")}, "nan"),
        ("malformed_json", {"how": "burnt"}, "'cut' or 'garbled'"),
        ("stale_results", {"behind": 0}, "from 1 to 100"),
        ("slow_tokens", {}, "slow_tokens needs delay_s: a number from 0.001 to 600"),
        ("slow_first_token", {"delay_s": 0}, "from 0.001 to 600"),
        ("stall", {"after_tokens": -1}, "from 0 to 100000"),
        ("stall", {"after_tokens": 1, "for_s": "1s"}, "'1s'"),
        ("cut", {"after_tokens": 1, "how": "rst"}, "'close' or 'reset'"),
        ("truncate", {}, "truncate needs after_tokens"),
        (
            "truncate",
            {"after_tokens": 1, "afer": 2},
            "truncate has no attribute 'afer'; allowed: after_tokens",
        ),
        ("done_after_abort", {"after_tokens": 1, "finish_reason": "x" * 65}, "at most 64"),
    ],
)
def test_bad_attributes_are_refused(type_: str, attributes: dict[str, Any], said: str) -> None:
    """A refusal says the attribute, its value and what is allowed."""
    with pytest.raises(BadFaultError) as caught:
        http_fault_kinds()[type_].read(attributes)
    assert said in str(caught.value)


@pytest.mark.parametrize("type_", NAMES)
def test_each_parameter_has_bounds(type_: str) -> None:
    """No number is without an upper bound, no text without a longest length; defaults are allowed values."""
    for parameter in http_fault_kinds()[type_].parameters:
        assert parameter.choices or 0 < parameter.most < float("inf")
        if parameter.default is not None:
            assert parameter.read(parameter.default) == parameter.default
