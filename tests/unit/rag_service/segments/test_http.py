"""The dependencies' client: httpx's face, less what a fixed dependency has no use for."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider

from rag_service.errors import ConnectionBroken, DependencyTimeout, DependencyUnreachable
from rag_service.segments.http import Endpoint, make_client, translate


def call(ask, answer=None, *, url="http://127.0.0.1:7001/v1"):
    """Run `ask(client)`; `answer(request)` is the dependency."""
    endpoint = Endpoint(url, "10.0.0.5:8000")
    transport = httpx.MockTransport(answer or (lambda _: httpx.Response(200, json={"ok": True})))

    async def scene():
        async with make_client(endpoint, connect_s=0.25, max_connections=4, transport=transport) as client:
            return await ask(client)

    return asyncio.run(scene())


def test_a_request_goes_below_the_base_url_with_a_json_body():
    """The body is compact JSON in UTF-8, its length is said, nothing may come back compressed."""
    seen = []

    async def ask(client):
        return await client.post("chat/completions", json={"text": "ä", "k": 1})

    response = call(ask, lambda request: seen.append(request) or httpx.Response(200, json={"ok": True}))
    (request,) = seen
    assert str(request.url) == "http://127.0.0.1:7001/v1/chat/completions"
    assert json.loads(request.content) == {"text": "ä", "k": 1}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["content-length"] == str(len(request.content))
    assert request.headers["host"] == "127.0.0.1:7001"
    assert request.headers["accept-encoding"] == "identity"
    assert response.json() == {"ok": True}
    assert response.request is request


def test_a_call_tells_its_span():
    """What the dependency, or a proxy before it, writes down about a call can be joined to its trace."""
    seen = []
    tracer = TracerProvider().get_tracer("test")

    async def ask(client):
        await client.post("search", json={})
        with tracer.start_as_current_span("search corpus") as span:
            await client.post("search", json={})
            return span.get_span_context()

    def answer(request):
        seen.append(request.headers.get("traceparent"))
        return httpx.Response(200, json={})

    context = call(ask, answer)
    assert seen == [None, f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"]


def test_a_streamed_response_is_not_read_before_it_is_asked_for():
    """With `stream=True` the body stays where it is, and closing it is the caller's."""

    async def body():
        yield b"ok"

    async def ask(client):
        response = await client.send(client.build_request("POST", "x", json={}), stream=True)
        closed_before = response.is_closed
        await response.aclose()
        return closed_before, response.is_closed

    assert call(ask, lambda _: httpx.Response(200, content=body())) == (False, True)


@pytest.mark.parametrize(
    ("raised", "ours"),
    [
        (httpx.ConnectError("refused"), DependencyUnreachable),
        (httpx.ConnectTimeout("slow"), DependencyTimeout),
        (httpx.ReadError("reset"), ConnectionBroken),
        (httpx.RemoteProtocolError("cut"), ConnectionBroken),
    ],
)
def test_an_error_knows_its_request_and_becomes_one_of_ours(raised, ours):
    """What the breaker and the retry judge by."""

    def fail(_):
        raise raised

    async def ask(client):
        try:
            await client.get("health")
        except httpx.HTTPError as error:
            return error.request.url.path, translate("llm", error)

    path, error = call(ask, fail)
    assert path == "/v1/health"
    assert isinstance(error, ours)


def test_a_connect_limit_is_the_settings_and_a_call_may_bring_its_own():
    """Attempts bound the rest themselves; a call outside of an attempt brings one limit for all phases."""

    async def ask(client):
        usual, own = client.build_request("GET", "x"), client.build_request("GET", "x", timeout=1.0)
        return usual.extensions["timeout"], own.extensions["timeout"]

    usual, own = call(ask)
    assert (usual["connect"], usual["read"]) == (0.25, None)
    assert (own["connect"], own["read"]) == (1.0, 1.0)
