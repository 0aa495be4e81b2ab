"""Events and bodies have every field that vLLM sends, in its compact JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_service.model_server.completion import Completion
from rag_service.model_server.openai_answers import DONE, Events, whole_body
from rag_service.model_server.openai_requests import (
    ChatRequest,
    CompletionRequest,
    TextRequest,
    parse_request,
)

CHAT = ("chat", ChatRequest, {"messages": [{"role": "user", "content": "hello"}]})
TEXT = ("text", TextRequest, {"prompt": "hello"})
THREE = Completion(("one", " two", ""), "stop", 7)


def _request(kind: Any, **fields: Any) -> CompletionRequest:
    return parse_request(kind[1], json.dumps({"stream": True} | kind[2] | fields).encode())


def _events(request: CompletionRequest, completion: Completion = THREE) -> list[dict[str, Any]]:
    events = Events("id", 5, "m", request, completion)
    stream = events.opening() + events.tokens(0, len(completion.tokens)) + events.closing()
    assert stream.endswith(DONE)
    return [json.loads(event.removeprefix(b"data: ")) for event in stream.split(b"\n\n")[:-2]]


def _said(chunk: dict[str, Any]) -> str:
    choice = chunk["choices"][0]
    return choice["delta"]["content"] if "delta" in choice else choice["text"]


@pytest.mark.parametrize("kind", [CHAT, TEXT])
def test_a_stream_has_an_event_for_each_token_and_its_reason_in_the_last(kind: Any) -> None:
    """A chat says first who speaks; every chunk names the completion, its time and its model."""
    chunks = _events(_request(kind))
    if kind is CHAT:
        assert chunks.pop(0)["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [_said(chunk) for chunk in chunks] == ["one", " two", ""]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "stop"]
    assert chunks[-1]["choices"][0]["stop_reason"] is None
    assert {(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks} == {("id", 5, "m")}
    name = {"chat": "chat.completion.chunk", "text": "text_completion"}[kind[0]]
    assert {chunk["object"] for chunk in chunks} == {name}
    assert {chunk["choices"][0]["logprobs"] for chunk in chunks} == {None}


@pytest.mark.parametrize("kind", [CHAT, TEXT])
def test_usage_comes_last_and_alone_when_it_is_asked_for(kind: Any) -> None:
    """An event without choices; the chunks before it have none."""
    chunks = _events(_request(kind, stream_options={"include_usage": True}))
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {"prompt_tokens": 7, "total_tokens": 10, "completion_tokens": 3}
    assert all("usage" not in chunk for chunk in chunks[:-1])


@pytest.mark.parametrize("kind", [CHAT, TEXT])
def test_usage_throughout_counts_up(kind: Any) -> None:
    """With `continuous_usage_stats` every chunk has the tokens so far."""
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = _events(_request(kind, stream_options=options))
    counts = [chunk["usage"]["completion_tokens"] for chunk in chunks]
    assert counts == ([0, 1, 2, 3, 3] if kind is CHAT else [1, 2, 3, 3])


@given(st.lists(st.text(min_size=1), min_size=1), st.integers(0, 5), st.sampled_from([CHAT, TEXT]))
def test_however_the_tokens_are_grouped_the_stream_is_the_same(
    tokens: list[str], first: int, kind: Any
) -> None:
    """Quotes, line ends and emoji arrive as they were said; each event is one line and an empty one."""
    completion = Completion(tuple(tokens), "length", 7)
    events = Events("id", 5, "m", _request(kind), completion)
    cut = min(first, len(tokens))
    pieces = events.tokens(0, cut) + events.tokens(cut, len(tokens))
    assert pieces == events.tokens(0, len(tokens))
    assert pieces.count(b"\n") == 2 * len(tokens)
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in pieces.split(b"\n\n")[:-1]]
    assert [_said(chunk) for chunk in chunks] == tokens
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("kind", [CHAT, TEXT])
def test_an_answer_in_one_piece_says_what_the_stream_says(kind: Any) -> None:
    """With its usage."""
    body = json.loads(whole_body("id", 5, "m", _request(kind), THREE))
    choice = body["choices"][0]
    said = choice["message"]["content"] if kind is CHAT else choice["text"]
    assert (said, choice["finish_reason"], choice["stop_reason"]) == ("one two", "stop", None)
    assert body["usage"]["total_tokens"] == 10
    assert body["object"] == {"chat": "chat.completion", "text": "text_completion"}[kind[0]]


def test_a_stop_text_is_named() -> None:
    """In the last chunk, as in the body."""
    stopped = Completion(("one ",), "stop", 7, 'tw"o')
    assert _events(_request(CHAT), stopped)[-1]["choices"][0]["stop_reason"] == 'tw"o'
    body = json.loads(whole_body("id", 5, "m", _request(TEXT), stopped))
    assert body["choices"][0]["stop_reason"] == 'tw"o'


HEAD = '"id":"id","object":"{}","created":5,"model":"m"'
CHUNK, TEXT_CHUNK = HEAD.format("chat.completion.chunk"), HEAD.format("text_completion")
USAGE = '"usage":{"prompt_tokens":7,"total_tokens":8,"completion_tokens":1'
WHOLE_USAGE = USAGE + ',"prompt_tokens_details":null,"completion_tokens_details":null}'
STAMP = '"system_fingerprint":"simulator"'


def test_the_bytes_of_a_chat_are_vllms() -> None:
    """Taken down from vLLM 0.32: a role, a token with its end, the usage; each field in its place."""
    one = Completion(("a",), "length", 7)
    role = '{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}'
    last = (
        '{"index":0,"delta":{"content":"a"},"logprobs":null,"finish_reason":"length","stop_reason":null,'
        '"token_ids":null}'
    )
    asked = '"prompt_token_ids":null,"prompt_text":null'

    def stream(**options: bool) -> str:
        request = _request(CHAT, **({"stream_options": options} if options else {}))
        events = Events("id", 5, "m", request, one)
        return (events.opening() + events.tokens(0, 1) + events.closing()).decode()

    assert stream() == (
        f'data: {{{CHUNK},"choices":[{role}],{asked}}}\n\n'
        f'data: {{{CHUNK},"choices":[{last}],{STAMP}}}\n\ndata: [DONE]\n\n'
    )
    assert stream(include_usage=True) == (
        f'data: {{{CHUNK},"choices":[{role}],{asked}}}\n\n'
        f'data: {{{CHUNK},"choices":[{last}]}}\n\n'
        f'data: {{{CHUNK},"choices":[],{USAGE}}},{STAMP}}}\n\ndata: [DONE]\n\n'
    )
    assert f'"choices":[{last}],{USAGE},"completion_tokens_details":null}}}}\n\n' in stream(
        include_usage=True, continuous_usage_stats=True
    )
    assert whole_body("id", 5, "m", _request(CHAT), one).decode() == (
        f'{{{HEAD.format("chat.completion")},"choices":[{{"index":0,"message":{{"role":"assistant",'
        '"content":"a","refusal":null,"annotations":null,"audio":null,"function_call":null,"reasoning":null},'
        '"logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":null,"routed_experts":null}],'
        f'"service_tier":null,{STAMP},{WHOLE_USAGE},"prompt_logprobs":null,{asked},'
        '"kv_transfer_params":null,"ec_transfer_params":null,"metrics":null}'
    )


def test_the_bytes_of_a_text_are_vllms() -> None:
    """The same for a text, whose chunks have no usage unless they are asked for it."""
    two = Completion(("a", "b"), "length", 7)

    def chunk(text: str, reason: str) -> str:
        return (
            f'{{"index":0,"text":"{text}","logprobs":null,"finish_reason":{reason},"stop_reason":null,'
            '"prompt_token_ids":null,"token_ids":null}'
        )

    events = Events("id", 5, "m", _request(TEXT), two)
    assert (events.opening() + events.tokens(0, 2) + events.closing()).decode() == (
        f'data: {{{TEXT_CHUNK},"choices":[{chunk("a", "null")}]}}\n\n'
        f'data: {{{TEXT_CHUNK},"choices":[{chunk("b", chr(34) + "length" + chr(34))}],{STAMP}}}\n\n'
        "data: [DONE]\n\n"
    )
    one = Completion(("a",), "length", 7)
    assert whole_body("id", 5, "m", _request(TEXT), one).decode() == (
        f'{{{TEXT_CHUNK},"choices":[{{"index":0,"text":"a","logprobs":null,"finish_reason":"length",'
        '"stop_reason":null,"token_ids":null,"prompt_logprobs":null,"prompt_token_ids":null,'
        f'"routed_experts":null}}],"service_tier":null,{STAMP},{WHOLE_USAGE},'
        '"kv_transfer_params":null,"ec_transfer_params":null,"metrics":null}'
    )
