"""Faults on a vector DB's answers, each with the answer that comes without it, and its record."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.slow

SEARCH = "/v1/collections/corpus/search"
ASKED = {"vectors": [[0.1, 0.2, 0.3, 0.4]], "k": 5}


@pytest.fixture
def arms(faulty: Any, searches: Any) -> Any:
    """Ask with the fault, then without it; both answers, the fault's record, and the database."""
    database, url = searches
    through = faulty.proxy(url)

    def both(type_: str, warm_up: int = 0, **attributes: Any) -> tuple[httpx.Response, httpx.Response, Any]:
        with httpx.Client(base_url=through, timeout=60) as client:
            after = faulty.seen()
            name = faulty.fault(type_, path="/v1/*", method="POST", **attributes)
            for _ in range(warm_up):
                client.post(SEARCH, json=ASKED)
            struck = client.post(SEARCH, json=ASKED)
            struck.extensions["asked"] = database.asked
            faulty.unfault(name)
            spared = client.post(SEARCH, json=ASKED)
        assert database.asked == ASKED
        assert len(spared.json()["results"][0]) == 5 and spared.json()["version"] == database.count
        (record,) = faulty.records(after)
        assert (record["proxy"], record["method"], record["path"]) == ("p", "POST", SEARCH)
        assert record["status"] == struck.status_code
        assert [fault["type"] for fault in record["faults"]] == [type_]
        return struck, spared, record["faults"][0]

    return both


def ids(answer: httpx.Response) -> list[str]:
    return [hit["id"] for hit in answer.json()["results"][0]]


def test_http_error(arms: Any) -> None:
    """The status, the body and Retry-After, without asking the database."""
    struck, _, fault = arms(
        "http_error", status=503, body='{"error": {"code": "overloaded"}}', retry_after_s=2.5
    )
    assert (struck.status_code, struck.headers["retry-after"]) == (503, "3")
    assert struck.json()["error"]["code"] == "overloaded"
    assert fault["note"] == "HTTP 503"


def test_slow_body(arms: Any) -> None:
    """The answer is whole and late; its record has the delay."""
    start = time.monotonic()
    struck, _, fault = arms("slow_body", delay_s=0.4)
    assert time.monotonic() - start >= 0.4
    assert len(ids(struck)) == 5
    assert 0.39 <= fault["delay_s"] < 5


def test_slow_body_by_rate(arms: Any) -> None:
    """Some 300 bytes at 1,000 a second."""
    struck, _, fault = arms("slow_body", bytes_per_s=1000)
    assert fault["delay_s"] == pytest.approx(len(struck.content) / 1000, rel=0.5)
    assert fault["bytes"] == len(struck.content)


@pytest.mark.parametrize("how", ["cut", "garbled"])
def test_malformed_json(arms: Any, how: str) -> None:
    """HTTP is right, JSON is not."""
    struck, _, _ = arms("malformed_json", how=how)
    assert struck.status_code == 200
    assert len(struck.content) == int(struck.headers["content-length"])
    with pytest.raises(json.JSONDecodeError):
        struck.json()


def test_empty_results(arms: Any) -> None:
    """A search that finds nothing."""
    struck, _, _ = arms("empty_results")
    assert ids(struck) == []


def test_wrong_dimension(arms: Any) -> None:
    """The database gets vectors of half the length."""
    struck, _, fault = arms("wrong_dimension")
    assert struck.extensions["asked"] == {"vectors": [[0.1, 0.2]], "k": 5}
    assert fault["note"] == "vectors of 4 numbers cut to 2"


def test_shuffled_results(arms: Any) -> None:
    """The same documents in another order, the scores where they were."""
    struck, _, _ = arms("shuffled_results")
    assert sorted(ids(struck)) == [f"doc-1-{place}" for place in range(5)] != ids(struck)
    assert [hit["score"] for hit in struck.json()["results"][0]] == [0.9, 0.8, 0.7, 0.6, 0.5]


def test_stale_results(arms: Any) -> None:
    """The answer of the search before."""
    struck, spared, _ = arms("stale_results", warm_up=1)
    assert (struck.json()["version"], spared.json()["version"]) == (1, 3)


def test_count_and_probability(faulty: Any, searches: Any) -> None:
    """A fault strikes as many requests as `count` says, and about as many as `probability` says."""
    _, url = searches
    with httpx.Client(base_url=faulty.proxy(url)) as client:
        faulty.fault("http_error", status=500, count=3, name="three")
        assert [client.get("/").status_code for _ in range(5)] == [500] * 3 + [200] * 2
        faulty.fault("http_error", status=501, probability=0.5, name="half")
        struck = sum(client.get("/").status_code == 501 for _ in range(100))
        assert 25 < struck < 75


def test_a_record_has_the_trace(faulty: Any, searches: Any) -> None:
    """The caller's trace id is in the record, so that evidence and spans can be joined."""
    _, url = searches
    after = faulty.seen()
    faulty.proxy(url)
    through = f"http://{faulty.ask('GET', '/proxies/p')['listen']}"
    faulty.fault("http_error")
    httpx.get(through, headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
    (record,) = faulty.records(after)
    assert record["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert record["request"] == 1
