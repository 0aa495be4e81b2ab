"""The OpenAI dialect, asked by OpenAI's own client: what it reads, what it raises, what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

MODEL = "ragquake-simulator"
ASKED = [{"role": "user", "content": "rename a file"}]
REFUSED = httpx.ConnectError("refused")


def token(text):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


def ending(reason):
    choice = {"index": 0, "delta": {}, "finish_reason": reason}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


def client(service) -> openai.AsyncOpenAI:
    transport = httpx.ASGITransport(service.app)
    return openai.AsyncOpenAI(
        base_url="http://service/v1",
        api_key="none",
        max_retries=0,
        http_client=httpx.AsyncClient(transport=transport, base_url="http://service"),
    )


async def complete(service, **more: Any) -> Any:
    async with client(service) as asking:
        return await asking.chat.completions.create(**({"model": MODEL, "messages": ASKED} | more))


async def chunks(service, **more: Any) -> list[Any]:
    async with client(service) as asking:
        stream: AsyncIterator[Any] = await asking.chat.completions.create(
            **({"model": MODEL, "messages": ASKED, "stream": True} | more)
        )
        return [chunk async for chunk in stream]


async def raw(service, **more: Any) -> httpx.Response:
    body = {"model": MODEL, "messages": ASKED} | more
    return await service.send("POST", "/v1/chat/completions", json=body)


def test_a_completion(run, make_service):
    """Text, ending, usage as the model server counted it, and what OpenAI has no field for in `ragquake`."""
    service = make_service()
    answer = run(complete(service))
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content) == ("assistant", "Hello world")
    assert choice.finish_reason == "stop"
    assert (answer.object, answer.model) == ("chat.completion", MODEL)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (9, 2)
    assert answer.usage.total_tokens == 11
    extension = answer.ragquake
    assert (extension["outcome"], extension["rung"], extension["degraded"]) == ("full", "full", [])
    assert [citation["id"] for citation in extension["citations"]] == ["a", "b"]
    (span,) = service.finished("POST /v1/chat/completions")
    assert f"{span.context.trace_id:032x}" == extension["trace_id"] == answer.id.removeprefix("chatcmpl-")
    assert answer._request_id == extension["trace_id"]


def test_a_stream_of_chunks(run, make_service):
    """The role first, then the text, then how it ended; the extension on the first and the last chunk."""
    found = run(chunks(make_service()))
    assert found[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in found) == "Hello world"
    assert [chunk.choices[0].finish_reason for chunk in found] == [None, None, None, "stop"]
    assert found[0].ragquake["citations"][0]["id"] == "a"
    assert found[-1].ragquake["outcome"] == "full"
    assert "ragquake" not in found[1].model_fields_set
    assert len({chunk.id for chunk in found}) == 1
    assert all(chunk.usage is None for chunk in found)


def test_a_stream_with_its_usage(run, make_service):
    """One more chunk, without choices, as OpenAI has it."""
    found = run(chunks(make_service(), stream_options={"include_usage": True}))
    assert found[-1].choices == []
    assert found[-1].usage.total_tokens == 11
    assert all(chunk.usage is None for chunk in found[:-1])


def test_the_bytes_of_a_stream_end_in_done(run, make_service):
    """`[DONE]` follows a whole answer, once."""
    response = run(raw(make_service(), stream=True))
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.count("data: [DONE]\n\n") == 1
    assert response.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("text", ['say "hi"\n\n', "back\\slash", "\u2028 é 漢", "\x00"])
def test_any_text_survives_the_encoding(run, make_service, text):
    """A token's chunk is one template around its text."""
    service = make_service()
    service.up.answer = [token(text), ending("stop")]
    found = run(chunks(service))
    assert found[1].choices[0].delta.content == text


def test_a_degraded_answer_says_so(run, make_service):
    """An OpenAI client that looks at the extension or the headers knows."""
    service = make_service()
    service.up.answer = 503
    answer = run(complete(service))
    assert answer.ragquake["outcome"] == "degraded"
    assert answer.ragquake["degraded"][0]["fallback"] == "extractive"
    assert answer.usage.total_tokens == 0
    response = run(raw(service))
    assert (response.headers["x-rag-outcome"], response.headers["x-rag-rung"]) == ("degraded", "extractive")


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        ([10.0, token("late"), ending("stop")], "llm_stalled"),
        ([httpx.ReadError("reset")], "llm_stream_cut"),
        ([ending("abort"), b"data: [DONE]\n\n"], "llm_aborted"),
    ],
)
def test_a_stream_that_fails_raises_in_the_client(run, make_service, rest, code):
    """One error chunk, no `[DONE]`, and the model's connection is closed."""
    service = make_service()
    service.up.answer = [token("Hello "), *rest]
    with pytest.raises(openai.APIError) as error:
        run(chunks(service))
    assert error.value.code == code
    text = run(raw(service, stream=True)).text
    assert "[DONE]" not in text
    assert text.count('"error":{') == 1
    assert text.rstrip().endswith("}")
    assert all(stream.closed for stream in service.up.streams)
    assert service.finished("POST /v1/chat/completions")[0].attributes["rag.outcome"] == "error"


def test_no_rung_left_is_a_server_error(run, make_service):
    """503 with `Retry-After`, in OpenAI's shape."""
    service = make_service()
    service.up.search = REFUSED
    with pytest.raises(openai.InternalServerError) as error:
        run(complete(service, messages=[{"role": "user", "content": "zebra"}]))
    assert error.value.status_code == 503
    assert int(error.value.response.headers["retry-after"]) >= 1
    assert error.value.body["type"] == "server_error"
    assert error.value.response.json()["ragquake"]["outcome"] == "refused"


def test_only_the_last_message_is_the_question(run, make_service):
    """System prompts and earlier turns are read and set aside; parts of text are joined."""
    service = make_service()
    parts = [{"type": "text", "text": "rename"}, {"type": "text", "text": "a file"}]
    messages = [
        {"role": "system", "content": "You are a pirate."},
        {"role": "user", "content": "zebra"},
        {"role": "assistant", "content": "I found nothing."},
        {"role": "user", "content": parts},
    ]
    assert run(complete(service, messages=messages)).ragquake["outcome"] == "full"


def test_standard_fields_are_accepted(run, make_service):
    """What clients send unasked has no effect, and what the service takes besides goes into `ragquake`."""
    more: dict[str, Any] = {
        "temperature": 0.2,
        "top_p": 0.9,
        "n": 1,
        "user": "u",
        "seed": 1,
        "stop": ["\n"],
        "max_tokens": 16,
        "max_completion_tokens": 16,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "logit_bias": {"50256": -100},
        "logprobs": False,
        "response_format": {"type": "text"},
        "metadata": {"a": "b"},
        "tools": [],
        "extra_body": {"ragquake": {"top_k": 1, "criticality": "critical"}},
    }
    answer = run(complete(make_service(), **more))
    assert len(answer.ragquake["citations"]) == 1


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"temperature": 9.0}, "temperature"),
        ({"best_of": 3}, "best_of"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": "x" * 4001}]}, "messages.0.content"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content"),
        ({"ragquake": {"top_k": 99}}, "ragquake.top_k"),
        ({"ragquake": {"topk": 1}}, "ragquake.topk"),
    ],
)
def test_what_would_change_the_answers_shape_is_refused_by_name(run, make_service, more, field):
    """400 with `param`, and no question was asked of anybody."""
    service = make_service()
    response = run(raw(service, **more))
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"].startswith(field)
    assert service.up.searches == service.up.generations == 0


def test_another_model_is_not_found(run, make_service):
    """404 as OpenAI's, naming what is served."""
    with pytest.raises(openai.NotFoundError) as error:
        run(complete(make_service(), model="gpt-9"))
    assert error.value.code == "model_not_found"
    assert MODEL in str(error.value)


def test_the_models_are_listed(run, make_service):
    """One model, by the name that is asked for."""

    async def listed() -> list[str]:
        async with client(make_service()) as asking:
            return [model.id async for model in asking.models.list()]

    assert run(listed()) == [MODEL]


@pytest.mark.parametrize(
    ("field", "most", "value"),
    [
        ("stop", 256, lambda n: ["x"] * n),
        ("metadata", 256, lambda n: {str(one): "x" for one in range(n)}),
        ("logit_bias", 1024, lambda n: {str(one): 1 for one in range(n)}),
    ],
)
def test_lists_have_a_length(run, make_service, field, most, value):
    """What is accepted without effect is bounded too."""
    service = make_service()
    assert run(raw(service, **{field: value(most)})).status_code == 200
    refused = run(raw(service, **{field: value(most + 1)}))
    assert refused.status_code == 400
    assert refused.json()["error"]["param"].startswith(field)


def test_both_faces_share_one_admission(run, make_service):
    """A chat completion takes the place that an answer would have had."""
    service = make_service(admission={"max_in_flight": 1})
    service.up.answer = [0.5, token("Hello"), ending("stop")]

    async def together() -> list[int]:
        first = asyncio.ensure_future(service.ask(criticality="critical"))
        await asyncio.sleep(0.1)
        second = await raw(service, ragquake={"criticality": "critical"})
        return [(await first).status_code, second.status_code]

    assert run(together()) == [200, 503]


def test_the_request_span_has_the_same_attributes(run, make_service):
    """Whichever way was asked, evaluators read the same."""
    service = make_service()
    run(service.ask())
    run(complete(service))
    (answer,), (chat,) = (
        service.finished(f"POST {path}") for path in ("/v1/answers", "/v1/chat/completions")
    )
    assert set(answer.attributes) == set(chat.attributes)
    assert [span.attributes["rag.span.seq"] for span in (answer, chat)] == [1, 2]
