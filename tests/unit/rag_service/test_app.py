"""The whole application over scripted upstreams: rungs, statuses, events, and what its spans say."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from rag_service.segments.documents import Document

REFUSED = httpx.ConnectError("refused")


def token(text):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


def ending(reason):
    choice = {"index": 0, "delta": {}, "finish_reason": reason}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


def frame(**choice):
    """A completion chunk whose one choice is odd."""
    whole = {"index": 0, "delta": {}, "finish_reason": None} | choice
    return f"data: {json.dumps({'choices': [whole]})}\n\n".encode()


def events(response):
    """The SSE events of a response, parsed strictly."""
    found = []
    for block in response.text.removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def root(service):
    (span,) = service.finished("POST /v1/answers")
    return dict(span.attributes)


def test_a_healthy_answer_is_full_and_cites(run, make_service):
    """Both legs, the model's text, citations, timings, and the same outcome in body, header and span."""
    service = make_service()
    response = run(service.ask())
    body = response.json()
    assert response.status_code == 200
    assert (body["answer"], body["outcome"], body["degraded"]) == ("Hello world", "full", [])
    assert [citation["id"] for citation in body["citations"]] == ["a", "b"]
    assert set(body["timings_ms"]) == {"embed", "retrieve", "context", "first_token", "total"}
    assert response.headers["x-rag-outcome"] == "full"
    assert root(service)["rag.outcome"] == "full"
    assert f"{service.finished()[0].context.trace_id:032x}" == body["trace_id"]


def test_a_stream_is_meta_tokens_done(run, make_service):
    """One terminal event, and it comes last."""
    response = run(make_service().ask(stream=True))
    assert response.headers["content-type"].startswith("text/event-stream")
    names = [name for name, _ in events(response)]
    assert names == ["meta", "token", "token", "done"]
    assert events(response)[0][1]["outcome"] == events(response)[-1][1]["outcome"] == "full"
    assert events(response)[-1][1]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("search", "reason"),
    [
        (REFUSED, "connect_error"),
        (httpx.ReadError("reset"), "read_error"),
        (httpx.RemoteProtocolError("closed"), "read_error"),
        (503, "http_5xx"),
        (400, "http_4xx"),
    ],
)
def test_without_the_vector_leg_the_lexical_one_answers_and_says_so(run, make_service, search, reason):
    """Degraded in body, header and span, with the reason."""
    service = make_service()
    service.up.search = search
    response = run(service.ask())
    assert response.json()["degraded"] == [{"segment": "retrieve", "reason": reason, "fallback": "lexical"}]
    assert response.headers["x-rag-outcome"] == "degraded"
    attributes = root(service)
    assert attributes["rag.degraded.segments"] == ("retrieve",)
    assert attributes["rag.degraded.reason"] == reason
    (retrieval,) = service.finished("retrieval corpus")
    assert retrieval.attributes["rag.retrieval.legs"] == ("lexical",)


def test_results_of_another_index_are_refused(run, make_service):
    """A stamp that differs makes the vector leg useless, not wrong."""
    service = make_service()
    service.up.stamp = "other"
    assert run(service.ask()).json()["degraded"][0]["reason"] == "stamp_mismatch"


@pytest.mark.parametrize("leg", ["embed", "search"])
def test_a_hurried_caller_gets_the_lexical_answer_in_time(run, clock, make_service, leg):
    """280 ms of patience, a leg that hangs: it may use half of what is left, not all of it."""
    service = make_service()
    if leg == "embed":
        service.app.state.model.delay_s = 60.0
    else:
        service.up.search_delay_s = 60.0
    started = clock()
    response = run(service.ask(headers={"x-request-deadline-ms": "280"}))
    assert clock() - started < 0.15
    assert (response.status_code, response.json()["outcome"]) == (200, "degraded")
    assert response.headers["x-rag-rung"] == "lexical"


def test_a_caller_with_time_leaves_the_search_its_whole_limit(run, clock, make_service):
    """Negative control: the reserve is out of reach of the default deadline."""
    service = make_service()
    service.up.search_delay_s = 60.0
    started = clock()
    run(service.ask())
    assert clock() - started == pytest.approx(0.3, abs=0.02)


def test_an_encoder_that_fails_costs_the_vector_leg_only(run, make_service):
    """Whatever it raises is a loss that the answer names, not an error of the service."""
    service = make_service()
    service.app.state.model.error = ValueError("cannot tokenize")
    body = run(service.ask()).json()
    assert body["outcome"] == "degraded"
    assert body["degraded"] == [{"segment": "embed", "reason": "encoding_failed", "fallback": "lexical"}]


def test_an_open_breaker_sends_no_search(run, make_service):
    """After ten failures the vector DB is left alone, and answers still come."""
    service = make_service()
    service.up.search = httpx.ReadError("reset")

    async def many():
        return [await service.ask() for _ in range(20)]

    responses = run(many())
    assert {response.json()["outcome"] for response in responses} == {"degraded"}
    assert responses[-1].json()["degraded"][0]["reason"] == "circuit_open"
    assert service.up.searches == len(service.finished("search corpus")) == 10


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("answer", [REFUSED, 503, 429, [ending("stop")], [ending("abort")], [b""]])
def test_without_a_first_token_the_answer_is_extractive(run, make_service, answer, stream):
    """Whatever the model fails with before its first token, the passages answer, and say so."""
    service = make_service()
    service.up.answer = answer
    response = run(service.ask(stream=stream))
    assert response.status_code == 200
    body = events(response)[-1][1] if stream else response.json()
    assert body["outcome"] == "degraded"
    assert [(loss["segment"], loss["fallback"]) for loss in body["degraded"]] == [("generate", "extractive")]
    assert "Rename" in (events(response)[1][1]["text"] if stream else body["answer"])


def test_a_model_that_never_starts_is_given_up_after_its_first_token_limit(run, clock, make_service):
    """2 s, not 30, and its connection is closed."""
    service = make_service()
    service.up.answer = [60.0, token("late")]
    started = clock()
    body = run(service.ask()).json()
    assert body["degraded"][0]["reason"] == "timeout"
    assert clock() - started < 2.2
    assert service.up.streams[0].closed


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        ([10.0, token("late"), ending("stop")], "llm_stalled"),
        ([httpx.ReadError("reset")], "llm_stream_cut"),
        ([], "llm_stream_cut"),
        ([b"data: [DONE]\n\n"], "llm_stream_cut"),
        ([ending("abort"), b"data: [DONE]\n\n"], "llm_aborted"),
        ([b'data: {"error": {"message": "out of memory"}}\n\n'], "llm_error"),
        ([b"data: {not json}\n\n"], "bad_response"),
        ([frame(finish_reason={"type": "stop"})], "bad_response"),
        ([frame(delta={"content": 7})], "bad_response"),
        ([frame(delta={"content": ["a"]})], "bad_response"),
        (
            [b'data: {"choices": [], "usage": {"prompt_tokens": 1e999, "completion_tokens": 1}}\n\n'],
            "bad_response",
        ),
        ([ending("abort"), httpx.ReadError("reset")], "llm_aborted"),
        ([ending("abort"), 10.0], "llm_aborted"),
    ],
)
def test_after_the_first_token_a_failure_is_one_error_event(run, make_service, rest, code):
    """Never a restart, never a second terminal event; the span and the model's connection end too."""
    service = make_service()
    service.up.answer = [token("Hello "), *rest]
    found = events(run(service.ask(stream=True)))
    assert [name for name, _ in found] == ["meta", "token", "error"]
    assert found[-1][1]["code"] == code
    assert found[-1][1]["partial"] is True
    assert service.up.generations == 1
    assert service.up.streams[0].closed
    attributes = root(service)
    assert (attributes["rag.outcome"], attributes["rag.stream.completed"]) == ("error", False)


@pytest.mark.parametrize(
    "rest",
    [
        [ending("stop"), b"data: [DONE]\n\n", httpx.RemoteProtocolError("no last chunk")],
        [ending("stop"), b"data: [DONE]\n\n", httpx.ReadError("reset")],
        [ending("stop"), httpx.ReadError("reset")],
        [ending("stop")],
        [ending("stop"), 60.0],
        [b'data: {"error": null, "choices": []}\n\n', ending("stop"), b"data: [DONE]\n\n"],
    ],
)
def test_the_finish_reason_decides_whether_an_answer_is_whole(run, clock, make_service, rest):
    """Whatever the connection does after it (breaks, ends, falls silent): full, and no failure at all."""
    service = make_service()
    service.up.answer = [token("Hello"), *rest]
    started = clock()
    found = events(run(service.ask(stream=True)))
    assert [name for name, _ in found] == ["meta", "token", "done"]
    assert found[-1][1]["outcome"] == "full"
    assert clock() - started < 4.0
    (breaker,) = service.finished("breaker llm")
    assert breaker.attributes["resilience.circuit_breaker.outcome"] == "success"


def test_after_the_first_token_a_json_caller_gets_502_with_the_code(run, make_service):
    """The status was not sent yet, so it can be honest."""
    service = make_service()
    service.up.answer = [token("Hello "), ending("abort")]
    response = run(service.ask())
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "llm_aborted"
    assert response.headers["x-rag-outcome"] == "error"


def test_pings_do_not_keep_a_dead_stream_alive(run, make_service):
    """SSE comments every second are bytes, not tokens."""
    service = make_service()
    service.up.answer = [token("Hello "), *([1.0, b": ping\n\n"] * 30), token("late"), ending("stop")]
    assert events(run(service.ask(stream=True)))[-1][1]["code"] == "llm_stalled"


def test_a_question_in_no_words_of_the_corpus_has_lost_nothing(run, make_service):
    """The vector leg answers it; BM25 was asked too, so that evaluators see no lost leg."""
    service = make_service()
    body = run(service.ask("zebra")).json()
    (retrieval,) = service.finished("retrieval corpus")
    assert (body["outcome"], body["degraded"]) == ("full", [])
    assert retrieval.attributes["rag.retrieval.legs"] == ("vector", "lexical")


def test_nothing_found_is_said(run, make_service):
    """Both legs were asked in vain: degraded, no citations, and no model call to make something up."""
    service = make_service()
    service.up.search = []
    body = run(service.ask("zebra")).json()
    assert (body["outcome"], body["citations"]) == ("degraded", [])
    assert body["degraded"] == [
        {"segment": "retrieve", "reason": "no_documents", "fallback": "nothing_found"}
    ]
    assert service.up.generations == 0


def test_when_no_rung_is_left_it_refuses_with_retry_after(run, make_service):
    """The vector leg is down and no word is known: 503, quickly, and the span says refused."""
    service = make_service()
    service.up.search = REFUSED
    response = run(service.ask("zebra"))
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    assert response.json()["outcome"] == response.headers["x-rag-outcome"] == "refused"
    assert root(service)["rag.outcome"] == "refused"


def test_beyond_admission_it_refuses(run, make_service):
    """With room for two, the third answer under way is refused, and room comes back."""
    service = make_service(admission={"max_in_flight": 2})
    service.up.answer = [0.5, token("Hello"), ending("stop")]

    async def crowd():
        together = await asyncio.gather(*(service.ask(criticality="critical", stream=True) for _ in range(3)))
        return together, await service.ask(stream=True)

    together, after = run(crowd())
    assert sorted(response.status_code for response in together) == [200, 200, 503]
    assert after.status_code == 200


def test_a_search_timeout_is_not_retried(run, make_service):
    """One attempt of 300 ms, then the lexical leg."""
    service = make_service()
    service.up.search_delay_s = 2.0
    assert run(service.ask()).json()["degraded"][0]["reason"] == "timeout"
    assert service.up.searches == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_frees_everything(run, make_service, stream):
    """During the wait for the first token and in mid-stream: upstream closed, admission empty, span ended."""
    service = make_service()
    service.up.answer = [token("Hello "), 50.0, token("world"), ending("stop")]

    async def hang_up():
        body = json.dumps({"question": "rename a file", "stream": stream}).encode()
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive():
            if messages:
                return messages.pop()
            await asyncio.sleep(1.0)
            return {"type": "http.disconnect"}

        sent = []

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/v1/answers",
            "raw_path": b"/v1/answers",
            "query_string": b"",
            "root_path": "",
            "headers": [],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        await service.app(scope, receive, send)
        return (await service.send("GET", "/metrics")).text

    metrics = run(hang_up())
    assert "rag_in_flight 0" in metrics
    assert service.up.streams[0].closed
    assert root(service)["rag.stream.completed"] is False
    (chat,) = [span for span in service.finished() if span.name.startswith("chat ")]
    assert chat.attributes["error.type"] == "cancelled"


class TestResilienceOff:
    """The tutorial service: the first error is the answer."""

    def test_a_healthy_answer_is_the_same(self, run, make_service):
        """Full, with the same segments, but no breaker spans."""
        service = make_service(resilience="off")
        assert run(service.ask()).json()["outcome"] == "full"
        assert not [span for span in service.finished() if span.name.startswith("breaker")]

    @pytest.mark.parametrize(("search", "answer"), [(REFUSED, None), (None, REFUSED)])
    def test_a_lost_dependency_is_an_error(self, run, make_service, search, answer):
        """502 and no second attempt."""
        service = make_service(resilience="off")
        service.up.search = search or service.up.search
        service.up.answer = answer or service.up.answer
        response = run(service.ask())
        assert (response.status_code, response.json()["outcome"]) == (502, "error")
        assert max(service.up.searches, service.up.generations) == 1

    def test_a_slow_model_is_waited_for(self, run, clock, make_service):
        """Ten seconds for a first token are ten seconds for the user."""
        service = make_service(resilience="off")
        service.up.answer = [10.0, token("Hello"), ending("stop")]
        started = clock()
        assert run(service.ask()).json()["outcome"] == "full"
        assert clock() - started > 10.0


def test_a_wrong_request_is_answered_with_the_field(run, make_service):
    """422 in the service's own form, labelled as an error, and counted as a request span."""
    service = make_service()
    response = run(service.ask(top_k=99))
    assert response.status_code == 422
    assert response.json()["error"]["fields"][0]["field"] == "top_k"
    assert root(service)["rag.outcome"] == "error"


def test_a_body_beyond_its_limit_is_refused(run, make_service):
    """413 instead of memory."""
    assert run(make_service().send("POST", "/v1/answers", content=b"x" * 70_000)).status_code == 413


def test_operations(run, make_service):
    """Health, readiness (200 while degraded, and says so), breakers, metrics, flush."""
    service = make_service()
    service.up.search = httpx.ReadError("reset")

    async def look():
        for _ in range(12):
            await service.ask()
        paths = ("/healthz", "/readyz", "/v1/breakers", "/metrics")
        found = [await service.send("GET", path) for path in paths]
        return [*found, await service.send("POST", "/v1/telemetry/flush")]

    health, ready, breakers, metrics, flush = run(look())
    assert health.json() == {"status": "ok"}
    assert (ready.status_code, ready.json()["degraded"]) == (200, ["vector_db"])
    assert [(b["name"], b["state"]) for b in breakers.json()["breakers"]] == [
        ("vector_db", "open"),
        ("llm", "closed"),
    ]
    assert 'rag_answers_total{outcome="degraded",rung="lexical"} 12.0' in metrics.text
    assert flush.json()["last_seq"] == 12


def test_only_the_caller_on_this_machine_may_flush(run, make_service):
    """From any other address it is 403."""
    service = make_service()

    async def from_afar():
        transport = httpx.ASGITransport(service.app, client=("10.1.2.3", 5))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.post("/v1/telemetry/flush")

    assert run(from_afar()).status_code == 403


def test_a_service_that_still_loads_is_not_ready(run, make_service):
    """503 with what is missing."""
    service = make_service()
    service.app.state.model.ready = False
    response = run(service.send("GET", "/readyz"))
    assert response.status_code == 503
    assert response.json()["waiting_for"] == ["embedder"]


def test_documents_that_the_vector_db_alone_knows_are_dropped(run, make_service):
    """An id that the service has no text for cannot be cited."""
    service = make_service(documents=(Document("a", "os.rename", "Rename the file."),))
    service.up.search = ["ghost", "a"]
    assert [c["id"] for c in run(service.ask()).json()["citations"]] == ["a"]
