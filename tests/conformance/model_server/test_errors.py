"""Errors: the status, the object, and that they cost the server nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.model_server.live import CHAT, MAX_MODEL_LEN, Live, a_question

REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("another model", {"model": "another"}, 404, "NotFoundError"),
    ("no tokens", {"max_tokens": 0}, 400, "BadRequestError"),
    ("fewer than none", {"max_tokens": -1}, 400, "BadRequestError"),
    ("tokens in words", {"max_tokens": "many"}, 400, "Bad Request"),
    ("usage of no stream", {"stream_options": {"include_usage": True}}, 400, "BadRequestError"),
    ("more than there can be", {"max_tokens": MAX_MODEL_LEN + 1}, 400, "BadRequestError"),
    ("at least more than at most", {"max_tokens": 3, "min_tokens": 4}, 400, "BadRequestError"),
    ("at least fewer than none", {"min_tokens": -1}, 400, "BadRequestError"),
    ("an empty stop", {"stop": ["a", ""]}, 400, "BadRequestError"),
    ("too many stops", {"stop": list("abcde")}, 400, "Bad Request"),
    ("too hot", {"temperature": 3}, 400, "BadRequestError"),
    ("hot in words", {"temperature": "hot"}, 400, "Bad Request"),
    ("nothing to choose from", {"top_p": 0}, 400, "BadRequestError"),
    ("a seed too long", {"seed": 2**63}, 400, "Bad Request"),
]

WORDS: list[tuple[dict[str, Any], str | None, str]] = [
    (
        {"max_tokens": 0},
        "max_tokens",
        "max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)",
    ),
    (
        {"max_tokens": 5000},
        "max_tokens",
        f"max_tokens=5000 cannot be greater than max_model_len={MAX_MODEL_LEN}. Please request fewer output "
        "tokens. (parameter=max_tokens, value=5000)",
    ),
    (
        {"max_tokens": 3, "min_tokens": 4},
        None,
        "min_tokens must be less than or equal to max_tokens=3, got 4.",
    ),
    (
        {"stream_options": {"include_usage": True}},
        "stream_options",
        "Stream options can only be defined when `stream=True`. (parameter=stream_options)",
    ),
    (
        {"temperature": -1},
        "temperature",
        "temperature must be non-negative, got -1.0. (parameter=temperature, value=-1.0)",
    ),
    (
        {"max_tokens": "many"},
        "body.max_tokens",
        "1 validation error:\n  {'type': 'int_parsing', 'loc': 'body.max_tokens', 'msg': 'Input should be a "
        "valid integer, unable to parse string as an integer', 'input': 'many'}",
    ),
]


def check(answer: Any, status: int, kind: str | None = None) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error = dict(answer.json()["error"])
    assert {"message", "type", "param", "code"} <= set(error)
    assert error["code"] == status
    assert error["message"]
    assert kind is None or error["type"] == kind
    return error


@pytest.mark.parametrize(
    ("fields", "status", "kind"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_what_cannot_be_done_is_refused(
    server: Live, path: str, fields: dict[str, Any], status: int, kind: str
) -> None:
    """The status is the error's code, and the next request is answered."""
    check(server.client.post(path, json=server.body(path, a_question(), **fields)), status, kind)
    server.ask(path, a_question(), max_tokens=1)


@pytest.mark.parametrize(("fields", "param", "words"), WORDS)
def test_errors_are_worded_alike(
    server: Live, path: str, fields: dict[str, Any], param: str | None, words: str
) -> None:
    """Clients match on the words, and on the field."""
    error = check(server.client.post(path, json=server.body(path, a_question(), **fields)), 400)
    assert (error["param"], error["message"]) == (param, words)


def test_a_body_calls_itself_json(server: Live, path: str) -> None:
    """Without the header a good request is refused."""
    content = json.dumps(server.body(path, a_question(), max_tokens=1)).encode()
    for headers in ({}, {"content-type": "text/plain"}):
        error = check(server.client.post(path, content=content, headers=headers), 400, "Bad Request")
        assert "Only 'application/json' is allowed" in error["message"]
    headers = {"content-type": "application/json; charset=utf-8"}
    assert server.client.post(path, content=content, headers=headers).status_code == 200


def test_the_model_that_is_missing_is_named(server: Live, path: str) -> None:
    """Clients match on the words."""
    answer = server.client.post(path, json=server.body(path, a_question(), model="another"))
    assert check(answer, 404)["message"].startswith("The model `another` does not exist.")


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_refused(server: Live, path: str, stream: bool) -> None:
    """The limit is named; a stream is refused by its status, too, not by an event."""
    asked = server.body(path, "word and another " * MAX_MODEL_LEN, max_tokens=5, stream=stream)
    error = check(server.client.post(path, json=asked), 400, "BadRequestError")
    assert f"maximum context length is {MAX_MODEL_LEN} tokens" in error["message"]


@pytest.mark.parametrize("body", [b"{", b"", b"[]", b'"words"', b"\xff\xfe"])
def test_what_is_no_request_is_refused(server: Live, path: str, body: bytes) -> None:
    """Malformed JSON, no body, another kind of value, no UTF-8."""
    answer = server.client.post(path, content=body, headers={"content-type": "application/json"})
    check(answer, 400, "Bad Request")


@pytest.mark.parametrize("missing", ["messages", "prompt"])
def test_a_request_without_words_is_refused(server: Live, missing: str) -> None:
    """A chat needs messages, a text a prompt."""
    path = CHAT if missing == "messages" else "/v1/completions"
    asked = server.body(path, a_question())
    del asked[missing]
    check(server.client.post(path, json=asked), 400)


def test_paths_and_methods_that_do_not_exist(server: Live, path: str) -> None:
    """404 and 405 come from below the API, in a shape of their own."""
    unknown, wrong = server.client.post("/v1/nothing", json={}), server.client.get(path)
    assert (unknown.status_code, unknown.json()) == (404, {"detail": "Not Found"})
    assert (wrong.status_code, wrong.json()) == (405, {"detail": "Method Not Allowed"})
    assert wrong.headers["allow"] == "POST"
    assert server.client.head("/health").status_code == 405
