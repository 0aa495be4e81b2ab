"""Requests are read as vLLM reads them; what is wrong with one is said with its field and value."""

import json
from typing import Any

import pytest

from rag_service.model_server.openai_errors import ApiError
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
        (b"{", None, "Invalid JSON"),
        (b"[]", None, "object"),
        (b'{"model": "m"}', "messages", "required"),
        (json.dumps(CHAT | {"messages": []}).encode(), "messages", "at least 1"),
        (json.dumps(CHAT | {"max_tokens": "many"}).encode(), "max_tokens", "got 'many'"),
        (json.dumps(CHAT | {"n": 2}).encode(), "n", "got 2"),
        (json.dumps(CHAT | {"stream": "maybe"}).encode(), "stream", "'maybe'"),
        (json.dumps(CHAT | {"logprobs": True}).encode(), "logprobs", "got True"),
        (json.dumps(CHAT | {"tools": [{}]}).encode(), "tools", "at most 0"),
    ],
)
def test_a_bad_body_is_a_400_that_names_the_field_and_the_value(
    body: bytes, param: str | None, said: str
) -> None:
    """The error has vLLM's shape."""
    with pytest.raises(ApiError) as error:
        parse_request(ChatRequest, body)
    told = error.value.body()["error"]
    assert (told["code"], told["type"], told["param"]) == (400, "Bad Request", param)
    assert said in told["message"]


def test_stream_options_need_a_stream() -> None:
    """The request could be read, so its error has the type of those that cannot be done."""
    with pytest.raises(ApiError, match="`stream=True`") as error:
        _chat(stream_options={})
    assert (error.value.kind, error.value.param) == ("BadRequestError", "stream_options")


@pytest.mark.parametrize("prompt", ["", [], [-1], 7, None])
def test_a_text_completion_needs_a_prompt(prompt: Any) -> None:
    """A text or the numbers of its tokens, and not an empty one."""
    with pytest.raises(ApiError):
        _text(prompt=prompt)


def test_how_much_is_generated_at_most() -> None:
    """A chat fills the context unless told otherwise, a text ends after 16 tokens; the newer name wins."""
    assert (_chat().limit, _text().limit) == (None, 16)
    assert _chat(max_tokens=3, max_completion_tokens=5).limit == 5


def test_what_load_tools_send_is_taken() -> None:
    """Sampling fields and unknown ones are no error."""
    request = _text(temperature=0.7, top_p=1, seed=1, best_of=1, logprobs=None, ignore_eos=True, min_tokens=4)
    assert (request.ignore_eos, request.min_tokens) == (True, 4)


def test_usage_comes_in_a_stream_when_it_is_asked_for() -> None:
    """`include_usage` is the default of `stream_options`; without it there is none throughout either."""
    assert not _chat(stream=True).usage_wanted
    assert _chat(stream=True, stream_options={}).usage_wanted
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


def test_a_prompt_of_token_numbers_has_as_many_tokens() -> None:
    """Load tools send numbers to be exact about lengths."""
    assert len(_text(prompt=[5, 6, 7]).prompt_tokens()) == 3


def test_the_question_of_a_chat_is_its_last_user_turn() -> None:
    """Parts of a content are lines of it."""
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    turns = [
        {"role": "user", "content": "before"},
        {"role": "assistant", "content": None},
        {"role": "user", "content": parts},
    ]
    assert _chat(messages=turns).question == "one\ntwo"
