"""An answer is cut where vLLM would cut it, counted as vLLM counts it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_service.model_server.completion import Completion, complete, output_limit
from rag_service.model_server.openai_errors import ApiError
from rag_service.model_server.openai_requests import ChatRequest, parse_request

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
ENOUGH = 100


def _request(**fields: Any) -> ChatRequest:
    return parse_request(ChatRequest, json.dumps(BODY | fields).encode())


def _complete(text: str, limit: int = ENOUGH, **fields: Any) -> Completion:
    return complete(_request(**fields), text, 7, limit)


@given(st.text(min_size=1))
def test_an_answer_with_room_is_its_text_and_one_token_that_ends_it(text: str) -> None:
    """The token that says "end of text" carries none, and counts."""
    done = _complete(text, limit=1000)
    assert done.text == text
    assert (done.tokens[-1], done.finish_reason) == ("", "stop")
    assert done.usage.as_json()["completion_tokens"] == len(done.tokens)


def test_max_tokens_ends_an_answer_with_length() -> None:
    """An answer whose last word just fits has no room for its end."""
    assert _complete("one two three", 2) == Completion(("one", " two"), "length", 7)
    assert _complete("one two three", 3).finish_reason == "length"
    assert _complete("one two three", 4).finish_reason == "stop"


@pytest.mark.parametrize(
    ("stop", "said", "count", "by"),
    [
        ("two", "one ", 2, "two"),
        ([" two", "x"], "one", 2, " two"),
        (["three", "two"], "one ", 2, "two"),
        ("wo th", "one t", 3, "wo th"),
        ("one", "", 1, "one"),
        ("four", "one two three", 4, None),
    ],
)
def test_stop_ends_an_answer_before_the_first_such_text(stop: Any, said: str, count: int, by: Any) -> None:
    """The tokens that complete it count, though nothing of it is said."""
    done = _complete("one two three", stop=stop)
    assert (done.text, len(done.tokens), done.finish_reason, done.stop_reason) == (said, count, "stop", by)


def test_a_stop_text_may_be_kept() -> None:
    """With `include_stop_str_in_output` the answer ends with it."""
    assert _complete("one two three", stop="tw", include_stop_str_in_output=True).text == "one tw"


def test_min_tokens_hold_back_the_end_and_the_stop() -> None:
    """What comes up too early is passed over; the answer is said again until there is enough."""
    assert _complete("one two one two", stop="one", min_tokens=2).text == "one two "
    again = _complete("one two", min_tokens=5)
    assert (again.text, len(again.tokens), again.finish_reason) == ("one two one two one", 6, "stop")


@given(st.text(min_size=1, max_size=20), st.integers(1, 200))
def test_ignore_eos_gives_exactly_as_many_tokens_as_were_asked_for(text: str, limit: int) -> None:
    """Load tools force lengths with it."""
    done = _complete(text, limit, ignore_eos=True)
    assert (len(done.tokens), done.finish_reason) == (limit, "length")
    assert done.text.startswith(text[:1])


@given(
    st.text("ab ", min_size=1, max_size=12),
    st.lists(st.text("ab ", min_size=1, max_size=4), max_size=3),
    st.integers(0, 6),
    st.integers(6, 20),
    st.booleans(),
)
def test_the_rules_hold_together_as_in_a_loop_over_tokens(
    text: str, stops: list[str], least: int, limit: int, ignore_eos: bool
) -> None:
    """Against vLLM's own order of things: a token, then: is a stop text complete, is the limit reached."""
    done = _complete(text, limit, stop=stops, min_tokens=least, ignore_eos=ignore_eos)
    endless = complete(_request(ignore_eos=True), text, 7, limit).tokens
    plain = _complete(text, 1000).tokens[:-1]
    said = ""
    for count, token in enumerate(endless, 1):
        if not ignore_eos and count > max(len(plain), least):
            assert (done.finish_reason, done.stop_reason, done.text) == ("stop", None, said)
            assert len(done.tokens) == count
            return
        before, said = len(said), said + token
        ends = [
            (start + len(stop), start)
            for stop in stops
            if count > least and (start := said.find(stop, max(before - len(stop) + 1, 0))) >= 0
        ]
        if ends:
            assert (done.finish_reason, done.text) == ("stop", said[: min(ends)[1]])
            assert len(done.tokens) == count
            return
    assert (done.finish_reason, done.text, len(done.tokens)) == ("length", said, limit)


def test_an_answer_gets_what_was_asked_for_as_far_as_there_is_room() -> None:
    """Without a limit it may fill what the prompt leaves; vLLM shortens what does not fit, in silence."""
    assert output_limit(_request(), 90, 100) == 10
    assert output_limit(_request(max_tokens=9), 90, 100) == 9
    assert output_limit(_request(max_tokens=100), 90, 100) == 10


@pytest.mark.parametrize("prompt_tokens", [101, 5000])
def test_a_prompt_that_does_not_fit_is_refused(prompt_tokens: int) -> None:
    """It has "at least" the first token too many: vLLM stops counting there."""
    with pytest.raises(ApiError, match=r"maximum context length is 100 tokens.*at least 101 input") as error:
        output_limit(_request(), prompt_tokens, 100)
    assert str(error.value).endswith("(parameter=input_tokens, value=101)")
    assert (error.value.code, error.value.kind, error.value.param) == (400, "BadRequestError", "input_tokens")


@pytest.mark.parametrize(
    ("fields", "prompt_tokens", "said", "param"),
    [
        ({"max_tokens": 0}, 1, "max_tokens must be at least 1, got 0. (parameter=max_tokens, ", "max_tokens"),
        ({"max_tokens": -1}, 1, "max_tokens must be at least 1, got -1.", "max_tokens"),
        ({"max_completion_tokens": 0, "max_tokens": 5}, 1, "max_tokens must be at least 1", "max_tokens"),
        ({}, 100, "max_tokens must be at least 1, got 0.", "max_tokens"),
        (
            {"max_tokens": 101},
            1,
            "max_tokens=101 cannot be greater than max_model_len=100. Please request fewer output tokens. "
            "(parameter=max_tokens, value=101)",
            "max_tokens",
        ),
        (
            {"max_completion_tokens": 101},
            1,
            "max_completion_tokens=101 cannot be greater than max_model_len=100.",
            "max_completion_tokens",
        ),
        ({"max_tokens": 0}, 101, "This model's maximum context length is 100 tokens.", "input_tokens"),
        (
            {"max_tokens": 3, "min_tokens": 4},
            1,
            "min_tokens must be less than or equal to max_tokens=3, got 4.",
            None,
        ),
        ({"min_tokens": 4}, 97, "min_tokens must be less than or equal to max_tokens=3, got 4.", None),
        ({"min_tokens": -1}, 1, "min_tokens must be greater than or equal to 0, got -1.", None),
        ({"temperature": 3}, 1, "temperature must be in [0, 2], got 3.0.", "temperature"),
    ],
)
def test_numbers_that_cannot_be_are_refused(
    fields: Any, prompt_tokens: int, said: str, param: str | None
) -> None:
    """In vLLM's words and order, with the value."""
    with pytest.raises(ApiError) as refused:
        output_limit(_request(**fields), prompt_tokens, 100)
    assert str(refused.value).startswith(said)
    assert (refused.value.code, refused.value.kind, refused.value.param) == (400, "BadRequestError", param)
