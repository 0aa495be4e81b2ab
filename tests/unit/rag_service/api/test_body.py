"""Bodies are read within bounds, and every refusal of one is a clean answer in the service's form."""

from __future__ import annotations

import asyncio

import pytest

CHAT = "/v1/chat/completions"
GOOD = b'{"question": "rename a file"}'


def scope(path="/v1/answers", headers=()):
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }


async def send_slowly(service, pieces, *, every_s, path="/v1/answers"):
    """Status, headers and body of the response to a body that comes in pieces, and how long it took."""
    waiting = list(pieces)
    sent = []

    async def receive():
        await asyncio.sleep(every_s)
        if not waiting:
            await asyncio.sleep(1e6)
        return {"type": "http.request", "body": waiting.pop(0), "more_body": True}

    async def send(message):
        sent.append(message)

    started = asyncio.get_running_loop().time()
    await service.app(scope(path), receive, send)
    took_s = asyncio.get_running_loop().time() - started
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, sent[1]["body"], took_s


@pytest.mark.parametrize("path", ["/v1/answers", CHAT])
def test_a_body_that_comes_too_slowly_gets_408(run, make_service, path):
    """One byte a second is refused after the limit, however long it would go on."""
    service = make_service(body_timeout_s=5.0)
    status, headers, body, took_s = run(send_slowly(service, [b"x"] * 1000, every_s=1.0, path=path))
    assert status == 408
    assert headers["connection"] == "close"
    assert b'"body_timeout"' in body
    assert took_s < 5.5


def test_a_slow_body_holds_no_place(run, make_service):
    """With one place, a caller who is still sending does not keep another from its answer."""
    service = make_service(admission={"max_in_flight": 1})

    async def both():
        slow = asyncio.ensure_future(send_slowly(service, [b"x"] * 1000, every_s=1.0))
        await asyncio.sleep(2.0)
        answered = await service.ask(criticality="critical")
        return answered, (await slow)[0]

    answered, slow_status = run(both())
    assert answered.status_code == 200
    assert slow_status == 408


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", {}, 422),
        (b"\x00\x01\xff" * 100, {}, 422),
        (b"x" * 70_000, {}, 413),
        (b"[" * 60_000, {}, 422),
        (b'{"question":' + b'{"a":' * 9_000 + b"1", {}, 422),
        (b'{"question": 5}', {}, 422),
        (b'{"question": "x", "extra": 1}', {}, 422),
        (b'{"question": "x", "top_k": 1000000}', {}, 422),
        (b'{"question": "x", "top_k": -1}', {}, 422),
        (b'{"question": "\\ud800"}', {}, 422),
        (GOOD, {"content-type": "text/plain"}, 415),
        (GOOD, {"content-type": "application/x-www-form-urlencoded"}, 415),
        (GOOD, {"content-type": "application/json; charset=utf-8"}, 200),
        (GOOD, {"x-request-deadline-ms": "0"}, 400),
        (GOOD, {"x-request-deadline-ms": "-1"}, 400),
        (GOOD, {"x-request-deadline-ms": "soon"}, 400),
        (GOOD, {"content-length": "999999999999"}, 413),
    ],
)
def test_every_bad_request_is_a_clean_4xx(run, make_service, content, headers, status):
    """In the service's form, labelled as an error, and no dependency was asked."""
    service = make_service()
    given = {"content-type": "application/json"} | headers
    response = run(service.send("POST", "/v1/answers", content=content, headers=given))
    assert response.status_code == status
    if status != 200:
        body = response.json()
        assert body["error"]["message"]
        assert body["outcome"] == response.headers["x-rag-outcome"] == "error"
        assert body["trace_id"] == response.headers["x-request-id"]
        assert service.up.searches == service.up.generations == 0
    (span,) = service.finished("POST /v1/answers")
    assert span.attributes["http.response.status_code"] == status


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": "garbage"},
        {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"},
        {"traceparent": "ff-" + "f" * 200},
        {"tracestate": "=,=,,;" * 500},
        {"baggage": "ragquake.run=%ff%00,=,;;," + "x" * 20_000},
        {"baggage": ",".join(f"k{n}=v" for n in range(3000))},
        {"baggage": b"ragquake.run=\xff\xfe"},
    ],
)
def test_odd_trace_headers_cost_nobody_an_answer(run, make_service, headers):
    """They are for observers; what cannot be read starts a trace of its own."""
    response = run(make_service().ask(headers=headers))
    assert response.status_code == 200
    assert int(response.json()["trace_id"], 16) > 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/answers", 405),
        ("DELETE", CHAT, 405),
        ("POST", "/healthz", 405),
        ("GET", "/v1/nothing", 404),
        ("GET", "/docs", 404),
    ],
)
def test_wrong_paths_and_methods_are_answered_in_the_same_form(run, make_service, method, path, status):
    """404 and 405 with a code; 405 says what is allowed."""
    response = run(make_service().send(method, path))
    assert response.status_code == status
    assert response.json()["error"]["code"] in ("not_found", "method_not_allowed")
    assert (status == 405) == ("allow" in response.headers)


def test_an_unexpected_failure_shows_no_traceback(run, make_service, monkeypatch):
    """500 in the service's form; the log has the rest."""
    service = make_service()

    def explode(*_, **__):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("rag_service.api.native.parse_body", explode)
    response = run(service.ask())
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert "secret" not in response.text
    (span,) = service.finished("POST /v1/answers")
    assert span.attributes["error.type"] == "ZeroDivisionError"
