"""Requests are read as vLLM reads them; what is wrong with one is said with its field and value."""

import json
import re
from typing import Any

import pytest

from rag_service.model_server.openai_errors import ApiError
from rag_service.model_server.openai_refusals import refuse_what_cannot_be_sampled
from rag_service.model_server.openai_requests import ChatRequest, TextRequest, parse_request

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello there"}]}
TEXT: dict[str, Any] = {"model": "m", "prompt": "hello there"}


def _chat(**fields: Any) -> ChatRequest:
    return parse_request(ChatRequest, json.dumps(CHAT | fields).encode())


def _text(**fields: Any) -> TextRequest:
    return parse_request(TextRequest, json.dumps(TEXT | fields).encode())


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        (b"{", "body.1", "JSON decode error"),
        (b'{"model": "m",}', "body.14", "JSON decode error"),
        (b"", "body", "'missing', 'loc': 'body', 'msg': 'Field required'"),
        (b"\xff\xfe", "body.0", "JSON decode error"),
        (b'{"model": "\xff"}', "body", "JSON decode error"),
        (b"[" * 5000, "body", "JSON decode error"),
        (b"[]", "body", "'body'"),
        (b'{"model": "m"}', "body.messages", "'msg': 'Field required'"),
        (json.dumps(CHAT | {"messages": []}).encode(), "body.messages", "at least 1"),
        (json.dumps(CHAT | {"messages": [{"content": "x"}]}).encode(), "body.messages.0.role", "required"),
        (
            json.dumps(CHAT | {"messages": [{"role": "user", "content": [5]}]}).encode(),
            None,
            "validation errors",
        ),
        (json.dumps(CHAT | {"max_tokens": "many"}).encode(), "body.max_tokens", "'input': 'many'"),
        (json.dumps(CHAT | {"stream": "maybe"}).encode(), "body.stream", "'maybe'"),
        (json.dumps(CHAT | {"temperature": "hot"}).encode(), "body.temperature", "'hot'"),
        (json.dumps(CHAT | {"seed": 2**63}).encode(), "body.seed", "'ctx': {'le': "),
        (json.dumps(CHAT | {"stop": list("abcde")}).encode(), "body.stop", "at most 4"),
        (b'{"messages": [], "max_tokens": ' + b"9" * 5000 + b"}", None, "validation error"),
    ],
)
def test_a_bad_body_is_a_400_that_names_the_field_and_the_value(
    body: bytes, param: str | None, said: str
) -> None:
    """The error has vLLM's shape: how many, then each with its place below `body`."""
    with pytest.raises(ApiError) as error:
        parse_request(ChatRequest, body)
    told = error.value.body()["error"]
    assert (told["code"], told["type"]) == (400, "Bad Request")
    assert param in (None, told["param"])
    assert said in told["message"]
    assert re.match(r"\d+ validation errors?:\n  \{'type': ", told["message"])


def test_what_a_malformed_request_is_told_is_bounded() -> None:
    """Ten errors, and no value in full: the answer to a bad megabyte is a page."""
    body = json.dumps(CHAT | {"messages": ["x" * 5000] * 500, "max_tokens": "y" * 5000}).encode()
    with pytest.raises(ApiError) as error:
        parse_request(ChatRequest, body)
    assert "501 validation errors" in str(error.value)
    assert "and 491 more errors" in str(error.value)
    assert len(str(error.value)) < 5000


def test_stream_options_need_a_stream() -> None:
    """The request could be read, so its error is of those that cannot be done; {} is none."""
    with pytest.raises(ApiError, match=r"`stream=True`\. \(parameter=stream_options\)$") as error:
        _chat(stream_options={"include_usage": False})
    assert (error.value.kind, error.value.param) == ("BadRequestError", "stream_options")
    assert not _chat(stream_options={}).usage_wanted


@pytest.mark.parametrize("prompt", ["", [], [[]], [""], [-1], [1.5], 7, None, {"a": 1}, ["a", 1]])
def test_a_text_completion_needs_a_prompt(prompt: Any) -> None:
    """A text or the numbers of its tokens, and not an empty one."""
    with pytest.raises(ApiError):
        _text(prompt=prompt)


@pytest.mark.parametrize(("prompt", "tokens"), [(["hello there"], 2), ([[5, 6, 7]], 3), ([5, 6, 7], 3)])
def test_a_list_of_one_prompt_is_that_prompt(prompt: Any, tokens: int) -> None:
    """Load tools send lists; one prompt in them is no other request than the prompt alone."""
    request = _text(prompt=prompt)
    assert len(request.prompt_tokens()) == tokens
    assert request.question == (prompt[0] if isinstance(prompt[0], str) else "")


def test_several_prompts_are_refused() -> None:
    """vLLM would answer each; one answer to the first of them would be no answer to the others."""
    with pytest.raises(ApiError, match=r"one prompt a request, got 2.*parameter=prompt"):
        _text(prompt=["a", "b"])


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        *(
            ("chat", *one)
            for one in [("logprobs", True), ("top_logprobs", 2), ("tools", [{}]), ("tools", [])]
        ),
        *(("chat", *one) for one in [("tool_choice", "auto"), ("continue_final_message", True)]),
        *(("chat", *one) for one in [("add_generation_prompt", False), ("return_prompt_text", True)]),
        *(
            ("text", *one)
            for one in [("logprobs", 0), ("logprobs", 5), ("suffix", "x"), ("prompt_embeds", "x")]
        ),
        *(
            (kind, *one)
            for kind in ("chat", "text")
            for one in [
                *[("n", 2), ("n", 0), ("n", "many"), ("use_beam_search", True), ("echo", True)],
                *[("response_format", {"type": "json_object"}), ("structured_outputs", {"choice": ["a"]})],
                *[("logit_bias", {"1": 100}), ("allowed_token_ids", [1]), ("bad_words", ["a"])],
                *[("stop_token_ids", [1]), ("truncate_prompt_tokens", 5), ("prompt_logprobs", 1)],
                *[("return_token_ids", True), ("stream_interval", 5)],
            ]
        ),
    ],
)
def test_what_would_change_the_answer_is_refused(kind: str, field: str, value: Any) -> None:
    """Left out in silence it would let a test pass that fails against a real server."""
    with pytest.raises(ApiError, match=f"cannot do `{field}`") as refused:
        {"chat": _chat, "text": _text}[kind](**{field: value})
    assert (refused.value.code, refused.value.kind, refused.value.param) == (400, "BadRequestError", field)


def test_what_changes_nothing_is_taken() -> None:
    """Defaults that clients spell out, sampling fields, and fields that nobody knows."""
    spelled = {"n": 1, "top_logprobs": 0, "tool_choice": "none", "response_format": {"type": "text"}}
    _chat(suffix="a text has one, a chat has not", priority=1)
    _text(tools=[{}], top_logprobs=2)
    nulls = dict.fromkeys(("logit_bias", "suffix", "echo", "tools", "stop", "seed", "stream"))
    _chat(**spelled, **nulls, logprobs=False, parallel_tool_calls=True, user="u", metadata={"a": 1})
    request = _text(temperature=0.7, top_p=1, seed=1, best_of=1, logprobs=None, ignore_eos=True, min_tokens=4)
    assert (request.ignore_eos, request.min_tokens) == (True, 4)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"temperature": -1},
            "temperature must be non-negative, got -1.0. (parameter=temperature, value=-1.0)",
        ),
        ({"temperature": 2.5}, "temperature must be in [0, 2], got 2.5."),
        ({"temperature": float("nan")}, "temperature must be a finite number, got nan."),
        ({"top_p": 0}, "top_p must be in (0, 1], got 0.0. (parameter=top_p, value=0.0)"),
        ({"top_k": -2}, "top_k must be 0 (disable), or at least 1, got -2."),
        ({"min_p": 1.5}, "min_p must be in [0, 1], got 1.5."),
        ({"presence_penalty": 3}, "presence_penalty must be in [-2, 2], got 3.0."),
        ({"frequency_penalty": -3}, "frequency_penalty must be in [-2, 2], got -3.0."),
        ({"repetition_penalty": 0}, "repetition_penalty must be greater than zero, got 0.0."),
        ({"repetition_penalty": float("inf")}, "repetition_penalty must be a finite number, got inf."),
        ({"stop": ["a", ""]}, "stop cannot contain an empty string."),
    ],
)
def test_values_that_no_model_can_sample_with_are_refused(fields: Any, said: str) -> None:
    """In vLLM's words: a client's mistake is one here, too, though nothing is sampled."""
    with pytest.raises(ApiError) as refused:
        refuse_what_cannot_be_sampled(_text(**fields))
    assert str(refused.value).startswith(said)
    assert (refused.value.code, refused.value.kind) == (400, "BadRequestError")


def test_how_much_is_generated_at_most() -> None:
    """A chat fills the context unless told otherwise, a text ends after 16 tokens; the newer name wins."""
    assert (_chat().limit, _text().limit) == (None, 16)
    assert (_chat(max_tokens=None).limit, _text(max_tokens=None).limit) == (None, 16)
    assert _chat(max_tokens=3, max_completion_tokens=5).limit == 5


def test_usage_comes_in_a_stream_when_it_is_asked_for() -> None:
    """Options alone ask for none, and without `include_usage` there is none throughout either."""
    assert not _chat(stream=True).usage_wanted
    assert not _chat(stream=True, stream_options={}).usage_wanted
    assert not _chat(stream=True, stream_options={"continuous_usage_stats": True}).usage_wanted_throughout
    assert _chat(stream=True, stream_options={"include_usage": True}).usage_wanted
    throughout = {"include_usage": True, "continuous_usage_stats": True}
    assert _chat(stream=True, stream_options=throughout).usage_wanted_throughout
    assert not _chat(
        stream=True, stream_options=throughout | {"include_usage": False}
    ).usage_wanted_throughout


def test_prompts_share_their_tokens_as_far_as_they_are_the_same() -> None:
    """The prefix cache lives on it: same messages, same tokens; another turn leaves those before it alone."""
    first = _chat().prompt_tokens()
    more = [*CHAT["messages"], {"role": "assistant", "content": "hi"}, {"role": "user", "content": "and?"}]
    second = _chat(messages=more).prompt_tokens()
    shared = len(first) - 4  # the head of the assistant's turn
    assert first[:shared] == second[:shared]
    assert second.count("assistant") == 2


def test_a_salt_keeps_the_prefix_cache_apart() -> None:
    """As many tokens, of which the first is another one; the same salt has the same tokens."""
    plain, salted = _chat().prompt_tokens(), _chat(cache_salt="mine").prompt_tokens()
    assert plain[0] != salted[0]
    assert plain[1:] == salted[1:]
    assert salted == _chat(cache_salt="mine").prompt_tokens() != _chat(cache_salt="yours").prompt_tokens()


def test_the_question_of_a_chat_is_its_last_user_turn() -> None:
    """Parts of a content are lines of it."""
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    turns = [
        {"role": "user", "content": "before"},
        {"role": "assistant", "content": None},
        {"role": "user", "content": parts},
    ]
    assert _chat(messages=turns).question == "one\ntwo"
