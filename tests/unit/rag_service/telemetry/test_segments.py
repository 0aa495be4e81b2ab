"""Rate, errors and duration per segment, as they follow from the spans of real answers."""

from __future__ import annotations

from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

SEGMENTS = {"request", "embed", "retrieve", "search", "context", "generate"}


def scrape(run: Any, service: Any) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = run(service.send("GET", "/metrics")).text
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def of(found: dict, metric: str, /, **labels: str) -> float:
    return found.get((metric, frozenset(labels.items())), 0.0)


def test_each_segment_is_timed_once_per_answer(run, make_service):
    """The histogram's count is the segment's requests; a healthy answer has no errors."""
    service = make_service()
    run(service.ask())
    run(service.ask(stream=True))
    found = scrape(run, service)
    counts = {name: of(found, "rag_segment_duration_seconds_count", segment=name) for name in SEGMENTS}
    assert counts == dict.fromkeys(SEGMENTS, 2.0)
    assert not [name for name, _ in found if name == "rag_segment_errors_total"]
    assert of(found, "rag_breaker_calls_total", name="llm", outcome="success") == 2.0
    assert of(found, "rag_first_chunk_seconds_count") == 2.0
    assert of(found, "rag_streams_total", ending="done") == 1.0


def test_a_failing_dependency_shows_where_and_why(run, make_service):
    """Errors by reason, retries, the breaker's transition and state, and what answers had to do without."""
    service = make_service()
    service.up.search = httpx.ConnectError("refused")

    async def many():
        for _ in range(12):
            await service.ask()

    run(many())
    found = scrape(run, service)
    searches = of(found, "rag_segment_duration_seconds_count", segment="search")
    assert searches == service.up.searches
    assert of(found, "rag_segment_errors_total", segment="search", reason="connect_error") == searches
    assert of(found, "rag_retries_total", segment="search") >= 1.0
    assert of(found, "rag_breaker_transitions_total", name="vector_db", state="open") == 1.0
    assert of(found, "rag_breaker_state", name="vector_db", state="open") == 1.0
    assert of(found, "rag_breaker_state", name="llm", state="closed") == 1.0
    assert of(found, "rag_breaker_calls_total", name="vector_db", outcome="rejected") >= 1.0
    degraded = {k: v for (name, k), v in found.items() if name == "rag_degraded_total"}
    assert sum(degraded.values()) == 12.0


def test_gauges_of_the_whole_service(run, make_service):
    """Admission, limiters, budgets, queues and lag are there before the first answer."""
    service = make_service()
    found = scrape(run, service)
    assert of(found, "rag_in_flight") == 0.0
    assert of(found, "rag_admission_limit") == 128.0
    assert of(found, "rag_admission_queue") == 0.0
    assert of(found, "rag_draining") == 0.0
    assert of(found, "rag_embed_queue") == 0.0
    assert of(found, "rag_limiter_limit", name="vector_db") == 32.0
    assert of(found, "rag_retry_budget", name="llm") >= 1.0
    assert ("rag_event_loop_last_lag_seconds", frozenset()) in found


def test_refusals_and_bad_requests_are_told_apart(run, make_service):
    """A caller's mistake is no failed answer."""
    service = make_service()
    run(service.ask(top_k=99))
    run(service.send("POST", "/v1/answers", content=b"x" * 70_000))
    found = scrape(run, service)
    assert of(found, "rag_bad_requests_total", status="422") == 1.0
    assert of(found, "rag_bad_requests_total", status="413") == 1.0
    assert not [name for name, _ in found if name == "rag_answers_total"]


def test_no_caller_can_add_a_series(run, make_service):
    """Questions, sessions, trace ids and odd headers appear in no label."""
    service = make_service()
    run(service.ask())
    before = {(name, labels) for name, labels in scrape(run, service)}
    for n in range(30):
        headers = {"traceparent": f"00-{n + 1:032x}-{n + 1:016x}-01", "baggage": f"ragquake.run=r{n}"}
        run(service.ask(f"rename a file {n}", headers=headers, session_id=f"s{n}", top_k=n % 20 + 1))
    assert {(name, labels) for name, labels in scrape(run, service)} == before
