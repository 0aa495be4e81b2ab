"""Errors: the status, the object, and that they cost the server nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.model_server.live import CHAT, MAX_MODEL_LEN, Live, a_question

REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("another model", {"model": "another"}, 404, "NotFoundError"),
    ("no tokens", {"max_tokens": 0}, 400, "BadRequestError"),
    ("fewer than none", {"max_tokens": -1}, 400, "BadRequestError"),
    ("tokens in words", {"max_tokens": "many"}, 400, "Bad Request"),
    ("usage of no stream", {"stream_options": {"include_usage": True}}, 400, "BadRequestError"),
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
    assert server.client.post("/v1/nothing", json={}).status_code == 404
    assert server.client.get(path).status_code == 405
