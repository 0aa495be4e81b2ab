"""Requests, chunks and errors have the shapes that OpenAI clients expect of vLLM."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_service.model_server.openai import ApiError, ChatRequest, ChunkEncoder, complete, parse_request

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello there"}]}


def _request(**fields: Any) -> ChatRequest:
    return parse_request(json.dumps(BODY | fields).encode())


@given(st.text())
def test_tokens_put_together_are_the_text(text: str) -> None:
    """Splitting loses nothing but white space at the end."""
    assert complete(_request(), text).text == text[: len(complete(_request(), text).text)]
    assert not text[len(complete(_request(), text).text) :].strip()


def test_max_tokens_ends_an_answer_with_length() -> None:
    """An answer that just fits ends with stop."""
    cut = complete(_request(max_tokens=2), "one two three")
    assert (cut.text, cut.finish_reason) == ("one two", "length")
    assert complete(_request(max_completion_tokens=3), "one two three").finish_reason == "stop"


@pytest.mark.parametrize("stop", ["two", ["x", " two"], ["three", "two"]])
def test_stop_ends_an_answer_before_the_first_such_text(stop: Any) -> None:
    """The stop text itself is not said."""
    done = complete(_request(stop=stop), "one two three")
    assert (done.text.strip(), done.finish_reason) == ("one", "stop")


def test_usage_counts_the_words_read_and_written() -> None:
    """A token is a word here, in and out."""
    assert complete(_request(), "a b c").usage == {
        "prompt_tokens": 2,
        "completion_tokens": 3,
        "total_tokens": 5,
    }


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        (b"{", None, "Invalid JSON"),
        (b"[]", None, "object"),
        (b'{"model": "m"}', "messages", "required"),
        (json.dumps(BODY | {"messages": []}).encode(), "messages", "at least 1"),
        (json.dumps(BODY | {"max_tokens": 0}).encode(), "max_tokens", "got 0"),
        (json.dumps(BODY | {"n": 2}).encode(), "n", "got 2"),
        (json.dumps(BODY | {"stream": "maybe"}).encode(), "stream", "'maybe'"),
    ],
)
def test_a_bad_body_is_a_400_that_names_the_field_and_the_value(
    body: bytes, param: str | None, said: str
) -> None:
    """The error has vLLM's shape."""
    with pytest.raises(ApiError) as error:
        parse_request(body)
    told = error.value.body()["error"]
    assert (told["code"], told["type"], told["param"]) == (400, "BadRequestError", param)
    assert said in told["message"]


@given(st.text())
def test_a_token_survives_the_encoder(text: str) -> None:
    """Quotes, newlines and emoji arrive as they were sent, in one event."""
    event = ChunkEncoder("id", 1, "m", usage=False).token(text)
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    assert event.count(b"\n") == 2
    assert json.loads(event[6:])["choices"][0]["delta"] == {"content": text}
