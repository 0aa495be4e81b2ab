"""Every way in which a request can end, as its one request span tells it, whichever way was asked.

Against a recording exporter: evaluators have nothing but these attributes to judge an answer by.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from opentelemetry.trace import StatusCode

REFUSED = httpx.ConnectError("refused")
CHAT = "/v1/chat/completions"
ANSWERS = "/v1/answers"


def token(text):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


def ending(reason):
    choice = {"index": 0, "delta": {}, "finish_reason": reason}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


def body_of(path: str, question: str, stream: bool) -> dict[str, Any]:
    if path == CHAT:
        messages = [{"role": "user", "content": question}]
        return {"model": "ragquake-simulator", "messages": messages, "stream": stream}
    return {"question": question, "stream": stream}


@dataclass(frozen=True)
class Ending:
    """What is done, and what the request span must then say."""

    name: str
    outcome: str
    rung: str = ""
    reason: str = ""
    segments: tuple[str, ...] = ()
    completed: bool = False
    status: int = 200
    error_type: str | None = None
    stream: bool | None = None  # None: either way
    question: str = "rename a file"
    search: Any = None
    answer: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    hang_up_after_s: float | None = None


ENDINGS = [
    Ending("full", "full", rung="full", completed=True),
    Ending(
        "lexical", "degraded", rung="lexical", reason="connect_error", segments=("retrieve",),
        completed=True, search=REFUSED,
    ),
    Ending(
        "extractive", "degraded", rung="extractive", reason="http_5xx", segments=("generate",),
        completed=True, answer=503,
    ),
    Ending(
        "two_losses", "degraded", rung="extractive", reason="connect_error,http_5xx",
        segments=("retrieve", "generate"), completed=True, search=REFUSED, answer=503,
    ),
    Ending(
        "nothing_found", "degraded", rung="nothing_found", reason="no_documents", segments=("retrieve",),
        completed=True, question="zebra", search=[],
    ),
    Ending(
        "no_rung_left", "refused", rung="refusal", question="zebra", search=REFUSED, status=503,
        error_type="no_fallback_left",
    ),
    Ending(
        "error_before_the_first_token", "error", answer=503, status=502, error_type="http_5xx",
        settings={"resilience": "off"},
    ),
    Ending(
        "error_after_it_in_a_stream", "error", answer=[token("Hello "), ending("abort")],
        error_type="llm_aborted", stream=True,
    ),
    Ending(
        "error_after_it_in_json", "error", answer=[token("Hello "), ending("abort")],
        status=502, error_type="llm_aborted", stream=False,
    ),
    Ending(
        "hung_up_before_the_first_token", "error", answer=[1.5, token("late"), ending("stop")],
        hang_up_after_s=1.0, status=499, error_type="client_disconnected",
    ),
    Ending(
        "hung_up_after_it", "full", rung="full", answer=[token("Hello "), 2.0, ending("stop")],
        hang_up_after_s=1.0, error_type="client_disconnected", stream=True,
    ),
    Ending(
        "deadline_before_the_first_token", "degraded", rung="extractive", reason="timeout",
        segments=("generate",), completed=True, answer=[5.0, token("late")],
        headers={"x-request-deadline-ms": "1000"},
    ),
    Ending(
        "deadline_after_it", "error", answer=[token("Hello "), 2.5, token("late")],
        headers={"x-request-deadline-ms": "1000"}, error_type="deadline_exceeded", stream=True,
    ),
    Ending(
        "deadline_after_it_in_json", "error", answer=[token("Hello "), 2.5, token("late")],
        headers={"x-request-deadline-ms": "1000"}, status=504, error_type="deadline_exceeded", stream=False,
    ),
    Ending("bad_request", "error", question="", status=0, error_type=""),
]  # fmt: skip
CASES = [
    pytest.param(one, path, stream, id=f"{one.name}-{'chat' if path == CHAT else 'answers'}-{stream}")
    for one in ENDINGS
    for path in (ANSWERS, CHAT)
    for stream in (False, True)
    if one.stream in (None, stream)
]


async def ask(service: Any, path: str, body: dict[str, Any], one: Ending) -> None:
    """One request straight through ASGI, because only there a client can hang up."""
    headers = [(b"content-type", b"application/json")]
    headers += [(name.encode(), value.encode()) for name, value in one.headers.items()]
    messages = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
    ended = asyncio.Event()

    async def receive():
        if messages:
            return messages.pop()
        if one.hang_up_after_s is None:
            await ended.wait()
        else:
            await asyncio.sleep(one.hang_up_after_s)
        return {"type": "http.disconnect"}

    async def send(message):
        if message["type"] == "http.response.body" and not message.get("more_body"):
            ended.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    await service.app(scope, receive, send)


@pytest.mark.parametrize(("one", "path", "stream"), CASES)
def test_the_request_span_tells_how_it_ended(run: Callable, make_service: Callable, one, path, stream):
    """Exactly one request span, numbered, with what evaluators judge by; no other span is left open."""
    service = make_service(**one.settings)
    service.up.search = one.search if one.search is not None else service.up.search
    service.up.answer = one.answer if one.answer is not None else service.up.answer
    run(ask(service, path, body_of(path, one.question, stream), one))
    (span,) = [span for span in service.finished() if span.kind.name == "SERVER"]
    attributes = dict(span.attributes)
    bad_status = 400 if path == CHAT else 422
    assert span.name == f"POST {path}"
    assert attributes["rag.span.seq"] == service.app.state.telemetry.last_seq == 1
    assert attributes["rag.outcome"] == one.outcome
    assert attributes["rag.degradation.rung"] == one.rung
    assert attributes["rag.degraded.reason"] == one.reason
    assert attributes["rag.degraded.segments"] == one.segments
    assert attributes["rag.stream.completed"] is one.completed
    assert attributes["http.response.status_code"] == (one.status or bad_status)
    expected_error = str(bad_status) if one.error_type == "" else one.error_type
    assert attributes.get("error.type") == expected_error
    if one.status == 499:
        assert "rag.response.time_to_first_chunk" not in attributes
    else:
        assert attributes["rag.response.time_to_first_chunk"] >= 0.0
    parents = {other.context.span_id for other in service.finished()}
    assert all(other.parent is None or other.parent.span_id in parents for other in service.finished())
    counts = service.app.state.telemetry.span_counts()
    assert counts.ended == counts.exported == len(service.finished())


def test_a_request_that_is_not_admitted(run, make_service):
    """Refused within milliseconds: one span, no segment."""
    service = make_service(admission={"max_in_flight": 1, "brief_above": 1.0})
    service.up.answer = [0.5, token("Hello"), ending("stop")]

    async def two():
        first = asyncio.ensure_future(service.ask(criticality="critical"))
        await asyncio.sleep(0.1)
        return await service.ask(criticality="sheddable"), await first

    run(two())
    refused, answered = (dict(span.attributes) for span in service.finished("POST /v1/answers"))
    assert (refused["rag.outcome"], answered["rag.outcome"]) == ("refused", "full")
    assert refused["error.type"] == "overloaded"
    assert refused["http.response.status_code"] == 503
    assert len(service.finished("context")) == 1


def test_an_answer_under_pressure(run, make_service):
    """The second of two that are allowed says that it was made brief; the first, alone, was not."""
    service = make_service(admission={"max_in_flight": 2})
    service.up.answer = [0.5, token("Hello"), ending("stop")]

    async def two():
        return await asyncio.gather(*(service.ask(criticality="critical") for _ in range(2)))

    run(two())
    full, brief = (dict(span.attributes) for span in service.finished("POST /v1/answers"))
    assert (full["rag.outcome"], full["rag.degradation.rung"]) == ("full", "full")
    assert (brief["rag.outcome"], brief["rag.degradation.rung"]) == ("degraded", "brief")
    assert brief["rag.degraded.reason"] == "pressure"
    assert brief["rag.degraded.segments"] == ("request",)
    assert brief["rag.stream.completed"] is True


@pytest.mark.parametrize("stream", [False, True])
def test_a_failed_request_keeps_its_description(run, make_service, stream):
    """Which status the response had does not take away what the span says about the failure."""
    service = make_service()
    service.up.answer = [token("Hello "), ending("abort")]
    run(service.ask(stream=stream))
    (span,) = service.finished("POST /v1/answers")
    assert span.status.status_code is StatusCode.ERROR
    assert "finish_reason is 'abort'" in span.status.description


def test_a_kept_answer(run, make_service):
    """It says that it was kept, which cache had it, and what it stood in for."""
    service = make_service()
    run(service.ask())
    service.up.answer = 503
    run(service.ask())
    _, kept = (dict(span.attributes) for span in service.finished("POST /v1/answers"))
    assert (kept["rag.outcome"], kept["rag.degradation.rung"]) == ("cached", "exact_cache")
    assert kept["rag.cache.hit"] == "exact"
    assert kept["rag.degraded.reason"] == "http_5xx"


def test_other_requests_make_no_span(run, make_service):
    """Health, metrics and wrong methods are not answers."""
    service = make_service()
    for method, path in (("GET", "/healthz"), ("GET", "/metrics"), ("GET", ANSWERS), ("POST", "/v1/none")):
        run(service.send(method, path))
    assert service.finished() == []
