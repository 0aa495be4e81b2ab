"""Which requests a fault strikes: by path, method, chance and count."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.proxy.http.fault_set import HttpFaults
from chaos.proxy.http.faults import HttpFaultSpec
from chaos.proxy.http.passage import Headers, RequestHead


def strikes(faults: HttpFaults, method: str = "GET", path: str = "/a", *, ends: bool = True) -> bool:
    """Whether the next such request is answered by a fault."""
    struck = faults.begin(RequestHead(method, path, Headers([])))
    if struck is not None and ends:
        if struck.passage.own_answer is not None:
            struck.passage.own_answer.goes_out()
        struck.end()
    return struck is not None and struck.passage.own_answer is not None


def with_error(seed: int = 1, **how: Any) -> HttpFaults:
    faults = HttpFaults(random.Random(seed), lambda: 0.0)
    attributes = {"status": 500, "body": "", "retry_after_s": None}
    faults.add(HttpFaultSpec("e", "http_error", attributes, **how))
    return faults


@pytest.mark.parametrize(
    ("glob", "path", "does"),
    [
        ("*", "/any/thing", True),
        ("/v1/*", "/v1/collections/corpus/search", True),
        ("/v1/*", "/v1", False),
        ("*/search", "/v1/collections/corpus/search", True),
        ("*/search", "/v1/collections/corpus/search?x=1", True),
        ("/a?", "/ab", True),
        ("/a", "/A", False),
    ],
)
def test_the_path_is_a_glob_without_the_query(glob: str, path: str, does: bool) -> None:
    """`*` spans slashes, case counts, and what follows a question mark in the request does not."""
    assert strikes(with_error(path=glob), path=path) is does


def test_the_method_is_exact() -> None:
    """A fault on POST spares GET."""
    assert strikes(with_error(method="POST"), method="POST")
    assert not strikes(with_error(method="POST"), method="GET")


@given(st.integers(), st.floats(0.01, 1.0))
def test_chance_is_the_seeds(seed: int, probability: float) -> None:
    """The same seed strikes the same requests, and a request that does not match draws nothing."""
    first, second = (with_error(seed, probability=probability, path="/a") for _ in range(2))
    drawn = [strikes(first) for _ in range(20)]
    again = []
    for _ in range(20):
        strikes(second, path="/other")
        again.append(strikes(second))
    assert drawn == again


def test_probability_is_a_probability() -> None:
    """Of 2,000 requests at 0.3, between 500 and 700 are struck."""
    faults = with_error(probability=0.3)
    assert 500 < sum(strikes(faults) for _ in range(2000)) < 700


def test_count_is_the_most_that_are_struck() -> None:
    """Also when all of them are under way at once."""
    faults = with_error(count=3)
    assert [strikes(faults, ends=False) for _ in range(5)] == [True] * 3 + [False] * 2


def test_without_faults_nothing_is_prepared() -> None:
    """A request that no fault matches has no passage, and a removed fault strikes no more."""
    faults = with_error(path="/b")
    assert faults.begin(RequestHead("GET", "/a", Headers([]))) is None
    faults.remove("e")
    assert not strikes(faults, path="/b")
    assert faults.specs == {}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (b"00-0123456789abcdef0123456789abcdef-0123456789abcdef-01", "0123456789abcdef0123456789abcdef"),
        (b"00-short-0123456789abcdef-01", None),
        (b"00-" + b"z" * 32 + b"-0123456789abcdef-01", None),
        (b"", None),
        (b"\xff-\xff", None),
    ],
)
def test_the_trace_id_is_read_from_traceparent(given: bytes, found: str | None) -> None:
    """What is no traceparent has no trace id, and does no harm."""
    assert RequestHead("GET", "/", Headers([(b"TraceParent", given)])).trace_id == found


def test_headers_are_set_in_their_place_and_spelling() -> None:
    """A set header keeps place and spelling, doubles go, and a new one is appended."""
    headers = Headers([(b"A", b"1"), (b"Content-LENGTH", b"2"), (b"B", b"3"), (b"content-length", b"2")])
    headers.set_length(9)
    headers.set(b"c", b"4")
    assert headers.items == [(b"A", b"1"), (b"Content-LENGTH", b"9"), (b"B", b"3"), (b"c", b"4")]
