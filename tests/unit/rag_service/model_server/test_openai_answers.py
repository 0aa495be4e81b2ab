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
    """An event without choices; chunks of a chat have no usage before it, those of a text a null."""
    chunks = _events(_request(kind, stream_options={"include_usage": True}))
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {"prompt_tokens": 7, "total_tokens": 10, "completion_tokens": 3}
    assert [chunk.get("usage", "none") for chunk in chunks[:-1]] == (
        ["none"] * 4 if kind is CHAT else [None] * 3
    )


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
