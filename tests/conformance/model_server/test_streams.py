"""Streams: how they are framed, how they end, and that they are streams."""

from __future__ import annotations

import time
from typing import Any

from tests.conformance.model_server.live import CHAT, Live, a_question, said, text_of


def endings(chunks: list[dict[str, Any]]) -> list[str | None]:
    return [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]]


def test_a_stream_is_one_answer_in_pieces(server: Live, path: str) -> None:
    """One id, one model, one time; one choice in each event; the ending in the last of them, then [DONE]."""
    chunks = server.chunks(path, a_question(), max_tokens=10, ignore_eos=True)
    assert {chunk["object"] for chunk in chunks} == {
        "chat.completion.chunk" if path == CHAT else "text_completion"
    }
    for key in ("id", "model", "created"):
        assert len({chunk[key] for chunk in chunks}) == 1
    assert chunks[0]["model"] == server.model
    assert all(len(chunk["choices"]) == 1 for chunk in chunks)
    assert endings(chunks) == [None] * (len(chunks) - 1) + ["length"]


def test_a_chat_says_first_who_speaks(server: Live) -> None:
    """The role comes before the text, once, and with no text."""
    deltas = [chunk["choices"][0]["delta"] for chunk in server.chunks(CHAT, a_question(), max_tokens=5)]
    assert deltas[0]["role"] == "assistant"
    assert not deltas[0].get("content")
    assert all("role" not in delta for delta in deltas[1:])


def test_a_stream_says_what_the_whole_answer_says(server: Live, path: str) -> None:
    """Nothing is lost or repeated between the pieces, also where a stop string is held back."""
    question = a_question()
    whole = said(path, server.ask(path, question, max_tokens=12, ignore_eos=True))
    assert text_of(path, server.chunks(path, question, max_tokens=12, ignore_eos=True)) == whole
    stop = whole[6:9]
    cut = server.chunks(path, question, max_tokens=12, ignore_eos=True, stop=stop)
    assert text_of(path, cut) == whole[: whole.index(stop)]
    assert endings(cut)[-1] == "stop"


def test_usage_comes_last_for_those_who_ask(server: Live, path: str) -> None:
    """One more event, with no choice; its numbers are the whole answer's."""
    question = a_question()
    told = server.chunks(
        path, question, max_tokens=6, ignore_eos=True, stream_options={"include_usage": True}
    )
    assert told[-1]["choices"] == []
    assert all("usage" not in chunk for chunk in told[:-1])
    usage = told[-1]["usage"]
    assert usage["completion_tokens"] == 6
    assert usage["total_tokens"] == usage["prompt_tokens"] + 6
    untold = server.chunks(path, question, max_tokens=6, ignore_eos=True)
    assert untold[-1]["choices"]
    assert all("usage" not in chunk for chunk in untold)


def test_options_alone_ask_for_nothing(server: Live, path: str) -> None:
    """Usage has to be asked for by its name, and throughout only with it."""
    for options in ({}, {"continuous_usage_stats": True}, {"include_usage": False}):
        chunks = server.chunks(path, a_question(), max_tokens=3, ignore_eos=True, stream_options=options)
        assert all(chunk["choices"] and "usage" not in chunk for chunk in chunks)
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = server.chunks(path, a_question(), max_tokens=3, ignore_eos=True, stream_options=options)
    assert chunks[-1]["usage"]["completion_tokens"] == chunks[-2]["usage"]["completion_tokens"] == 3
    assert all("usage" in chunk for chunk in chunks)


def test_both_have_the_same_fields_in_the_same_order(server: Live, path: str) -> None:
    """As vLLM 0.32 writes them; what the last one with a choice has more is why it ended."""
    chunks = server.chunks(path, a_question(), max_tokens=2, ignore_eos=True)
    if path == CHAT:
        role = chunks.pop(0)
        assert list(role)[4:] == ["choices", "prompt_token_ids", "prompt_text"]
        assert list(role["choices"][0]) == ["index", "delta", "logprobs", "finish_reason"]
    common = ["id", "object", "created", "model", "choices"]
    for chunk in chunks:
        last = chunk is chunks[-1]
        assert list(chunk) == [*common, *(["system_fingerprint"] if last else [])]
        stop = ["stop_reason"] if last or path != CHAT else []
        ids = ["token_ids"] if path == CHAT else ["prompt_token_ids", "token_ids"]
        first = "delta" if path == CHAT else "text"
        assert list(chunk["choices"][0]) == ["index", first, "logprobs", "finish_reason", *stop, *ids]


def test_tokens_come_one_after_another(server: Live, path: str) -> None:
    """The first is there long before the last: a server that says it all at the end is none."""
    asked = server.body(path, a_question(), stream=True, max_tokens=200, ignore_eos=True)
    arrived_s = []
    with server.client.stream("POST", path, json=asked) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                arrived_s.append(time.monotonic())
    assert len(arrived_s) > 50
    early = sum(at_s < (arrived_s[0] + arrived_s[-1]) / 2 for at_s in arrived_s)
    assert 0.1 < early / len(arrived_s) < 0.9
