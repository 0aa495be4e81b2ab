"""Whole answers: their shape, how they end, and what they count."""

from __future__ import annotations

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
