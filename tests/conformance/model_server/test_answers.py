"""Whole answers: their shape, how they end, and what they count."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.conformance.model_server.live import CHAT, MAX_MODEL_LEN, TEXT, Live, a_question, said


def test_an_answer_has_openais_shape(server: Live, path: str) -> None:
    """One choice with text and an ending, the model that was asked for, and the sum of the tokens."""
    answer = server.ask(path, a_question(), max_tokens=20)
    assert answer["object"] == ("chat.completion" if path == CHAT else "text_completion")
    assert answer["id"].startswith("chatcmpl-" if path == CHAT else "cmpl-")
    assert answer["model"] == server.model
    assert isinstance(answer["created"], int)
    (choice,) = answer["choices"]
    assert choice["index"] == 0
    assert choice["finish_reason"] in ("stop", "length")
    assert said(path, answer)
    if path == CHAT:
        assert choice["message"]["role"] == "assistant"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.parametrize("tokens", [1, 7])
def test_max_tokens_ends_an_answer(server: Live, path: str, tokens: int) -> None:
    """Exactly so many tokens when nothing else ends it, and the reason is `length`."""
    answer = server.ask(path, a_question(), max_tokens=tokens, ignore_eos=True)
    assert answer["usage"]["completion_tokens"] == tokens
    assert answer["choices"][0]["finish_reason"] == "length"


def test_more_tokens_than_fit_are_cut_to_what_fits(server: Live, path: str) -> None:
    """Prompt and answer share the context; asking for more than is left of it is no error."""
    few = server.ask(path, a_question(), max_tokens=1)["usage"]["prompt_tokens"]
    more = server.ask(path, a_question() + " word" * 100, max_tokens=1)["usage"]["prompt_tokens"]
    words = (MAX_MODEL_LEN - few - 40) * 100 // (more - few)
    usage = server.ask(path, a_question() + " word" * words, max_tokens=MAX_MODEL_LEN, ignore_eos=True)[
        "usage"
    ]
    assert usage["total_tokens"] == MAX_MODEL_LEN
    assert usage["completion_tokens"] < 100


def test_a_chat_takes_the_newer_name_of_max_tokens(server: Live) -> None:
    """OpenAI renamed it to `max_completion_tokens`; both mean the same."""
    answer = server.ask(CHAT, a_question(), max_completion_tokens=3, ignore_eos=True)
    assert answer["usage"]["completion_tokens"] == 3


def test_a_text_without_max_tokens_is_short(server: Live) -> None:
    """Sixteen tokens, as in OpenAI's completions from the beginning."""
    assert server.ask(TEXT, a_question(), ignore_eos=True)["usage"]["completion_tokens"] == 16


@pytest.mark.parametrize("as_list", [False, True])
def test_a_stop_string_ends_an_answer_before_it(server: Live, path: str, as_list: bool) -> None:
    """The text up to the string, without it; the reason is `stop`."""
    question = a_question()
    whole = said(path, server.ask(path, question, max_tokens=12, ignore_eos=True))
    stop = whole[6:9]
    cut = server.ask(path, question, max_tokens=12, ignore_eos=True, stop=[stop] if as_list else stop)
    assert said(path, cut) == whole[: whole.index(stop)]
    assert cut["choices"][0]["finish_reason"] == "stop"
    assert cut["usage"]["completion_tokens"] < 12


def test_null_is_as_if_it_were_left_out(server: Live, path: str) -> None:
    """Clients spell out what they do not want."""
    nulls = dict.fromkeys(("stream", "stream_options", "stop", "seed", "temperature", "logprobs", "user"))
    assert (
        server.ask(path, a_question(), max_tokens=3, ignore_eos=True, **nulls)["usage"]["completion_tokens"]
        == 3
    )
    if path == TEXT:
        usage = server.ask(path, a_question(), max_tokens=None, ignore_eos=True)["usage"]
        assert usage["completion_tokens"] == 16


def test_a_prompt_may_be_a_list_of_one_or_numbers(server: Live) -> None:
    """What load tools send: the same prompt in a list, and the numbers of tokens."""
    question = a_question()
    once = server.ask(TEXT, question, max_tokens=1)["usage"]["prompt_tokens"]
    assert server.ask(TEXT, "", prompt=[question], max_tokens=1)["usage"]["prompt_tokens"] == once
    for numbers in ([5, 6, 7], [[5, 6, 7]]):
        assert server.ask(TEXT, "", prompt=numbers, max_tokens=1)["usage"]["prompt_tokens"] == 3


def test_a_request_may_bring_its_name(server: Live, path: str) -> None:
    """In its body or in a header, which comes first; the answer's id ends with it."""
    begin = "chatcmpl-" if path == CHAT else "cmpl-"
    assert server.ask(path, a_question(), max_tokens=1, request_id="mine")["id"] == f"{begin}mine"
    asked = server.body(path, a_question(), max_tokens=1, request_id="mine")
    answer = server.client.post(path, json=asked, headers={"X-Request-Id": "theirs"})
    assert answer.json()["id"] == f"{begin}theirs"


def test_another_salt_shares_no_cache(server: Live) -> None:
    """The same words with the same salt are found again, and with another they are not."""
    question = a_question() + " word" * 100

    def hits(**fields: Any) -> float:
        before = server.metric("prefix_cache_hits_total")
        server.ask(CHAT, question, max_tokens=1, **fields)
        return server.metric("prefix_cache_hits_total") - before

    hits(cache_salt="one")
    assert hits(cache_salt="two") == 0
    assert hits(cache_salt="one") > 0


def test_both_have_the_same_fields_in_the_same_order(server: Live, path: str) -> None:
    """As vLLM 0.32 writes them: a reader of one is a reader of the other."""
    answer = server.ask(path, a_question(), max_tokens=2, ignore_eos=True)
    choice = answer["choices"][0]
    first, last = ("message", ()) if path == CHAT else ("text", ("prompt_logprobs", "prompt_token_ids"))
    expected = ["index", first, "logprobs", "finish_reason", "stop_reason", "token_ids", *last]
    assert list(choice) == [*expected, "routed_experts"]
    if path == CHAT:
        said_in = ["role", "content", "refusal", "annotations", "audio", "function_call", "reasoning"]
        assert list(choice["message"]) == said_in
    asked = ["prompt_logprobs", "prompt_token_ids", "prompt_text"] if path == CHAT else []
    assert list(answer) == [
        *("id", "object", "created", "model", "choices", "service_tier", "system_fingerprint", "usage"),
        *asked,
        *("kv_transfer_params", "ec_transfer_params", "metrics"),
    ]
    assert list(answer["usage"]) == [
        *("prompt_tokens", "total_tokens", "completion_tokens"),
        *("prompt_tokens_details", "completion_tokens_details"),
    ]


def test_a_longer_prompt_has_more_tokens(server: Live, path: str) -> None:
    """Prompts are counted, not guessed: the same one twice has the same number."""
    question = a_question()
    once = server.ask(path, question, max_tokens=1)["usage"]["prompt_tokens"]
    assert server.ask(path, question, max_tokens=1)["usage"]["prompt_tokens"] == once
    assert server.ask(path, question + " Please!", max_tokens=1)["usage"]["prompt_tokens"] > once


def test_openais_own_client_can_talk_to_it(server: Live) -> None:
    """Whole and streamed, and an error becomes the client's own exception."""
    with openai.OpenAI(
        base_url=str(server.client.base_url.join("/v1")), api_key="none", max_retries=0
    ) as client:
        asked = [{"role": "user", "content": a_question()}]
        whole = client.chat.completions.create(model=server.model, messages=asked, max_tokens=5)  # type: ignore[call-overload]
        assert whole.choices[0].finish_reason in ("stop", "length")
        stream = client.chat.completions.create(  # type: ignore[call-overload]
            model=server.model, messages=asked, max_tokens=5, stream=True
        )
        assert [chunk.choices[0].finish_reason for chunk in stream][-1] in ("stop", "length")
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="another", messages=asked)  # type: ignore[call-overload]
