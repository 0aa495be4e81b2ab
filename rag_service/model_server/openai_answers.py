"""Answers as vLLM writes them: the events of a stream, and the body of an answer in one piece.

Every field that vLLM 0.32 sends is there, in its order and its compact JSON, so that a client which reads
bytes rather than objects reads the same; only the fingerprint says who really answered. An event is encoded
around its text once per request, not once per token: at 20,000 tokens a second the encoder would otherwise be
most of the cost.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring
from typing import Any

from rag_service.model_server.completion import Completion, FinishReason, Usage
from rag_service.model_server.openai_requests import CompletionRequest

DONE = b"data: [DONE]\n\n"

#: Stands where vLLM names its version and settings: in whole answers and in the last JSON of a stream.
FINGERPRINT = "simulator"
_END = "}\n\n"
_STAMP = f',"system_fingerprint":"{FINGERPRINT}"'


class Events:
    """The events of one stream."""

    def __init__(
        self, completion_id: str, created: int, model: str, request: CompletionRequest, completion: Completion
    ) -> None:
        self._completion = completion
        self._usage_wanted = request.usage_wanted
        self._throughout = request.usage_wanted_throughout
        self._chat = request.kind == "chat"
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        head = {"id": completion_id, "object": kind, "created": created, "model": model}
        self._head = f"data: {_json(head)[:-1]},"
        choice = '"choices":[{"index":0,'
        if self._chat:
            self._before = f'{self._head}{choice}"delta":{{"content":'
            self._after = '},"logprobs":null,"finish_reason":null,"token_ids":null}]'
        else:
            self._before = f'{self._head}{choice}"text":'
            self._after = (
                ',"logprobs":null,"finish_reason":null,"stop_reason":null,'
                '"prompt_token_ids":null,"token_ids":null}]'
            )
        self._last = len(completion.tokens) - 1

    def opening(self) -> bytes:
        """What comes before the first token: who speaks, in a chat; nothing in a text."""
        if not self._chat:
            return b""
        choice = '{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}'
        asked = '"prompt_token_ids":null,"prompt_text":null'
        if not self._throughout:
            return f'{self._head}"choices":[{choice}],{asked}{_END}'.encode()
        return f'{self._head}"choices":[{choice}]{self._usage(0)},{asked}{_END}'.encode()

    def tokens(self, first: int, until: int) -> bytes:
        """The events of the tokens from `first` up to, not including, `until`, one for each."""
        last = first < until == self._last + 1
        plain = range(first, until - last)
        said = self._completion.tokens
        if self._throughout:
            before, after = self._before, self._after
            events = [
                f"{before}{encode_basestring(said[position])}{after}{self._usage(position + 1)}{_END}"
                for position in plain
            ]
        else:
            before, end = self._before, f"{self._after}{_END}"
            events = [f"{before}{encode_basestring(said[position])}{end}" for position in plain]
        if last:
            events.append(self._final(said[self._last]))
        return "".join(events).encode()

    def aborted(self, count: int) -> bytes:
        """The end of an answer that the engine gave up on after `count` tokens, dressed as a success."""
        return self._finish("", "abort", None, count).encode() + DONE

    def closing(self) -> bytes:
        """What comes after the last choice: the usage, for those who asked for it, and `[DONE]`."""
        if not self._usage_wanted:
            return DONE
        usage = _json(self._completion.usage.as_json())
        return f'{self._head}"choices":[],"usage":{usage}{_STAMP}{_END}'.encode() + DONE

    def _final(self, text: str) -> str:
        completion = self._completion
        return self._finish(text, completion.finish_reason, completion.stop_reason, self._last + 1)

    def _finish(self, text: str, reason: FinishReason, stop: str | None, count: int) -> str:
        why = f'"finish_reason":"{reason}","stop_reason":{_json(stop)}'
        if self._chat:
            after = f'}},"logprobs":null,{why},"token_ids":null}}]'
        else:
            after = f',"logprobs":null,{why},"prompt_token_ids":null,"token_ids":null}}]'
        usage = self._usage(count) if self._throughout else ""
        stamp = "" if self._usage_wanted else _STAMP
        return f"{self._before}{encode_basestring(text)}{after}{usage}{stamp}{_END}"

    def _usage(self, count: int) -> str:
        """The usage so far, for those who want it throughout."""
        usage: dict[str, int | None] = {**Usage(self._completion.prompt_tokens, count).as_json()}
        if self._chat:
            usage["completion_tokens_details"] = None
        return f',"usage":{_json(usage)}'


def whole_body(
    completion_id: str, created: int, model: str, request: CompletionRequest, completion: Completion
) -> bytes:
    """The answer to a request that did not ask for a stream."""
    chat = request.kind == "chat"
    ending: dict[str, Any] = {
        "logprobs": None,
        "finish_reason": completion.finish_reason,
        "stop_reason": completion.stop_reason,
        "token_ids": None,
    }
    if chat:
        choice = {"index": 0, "message": _message(completion.text)} | ending
    else:
        choice = {"index": 0, "text": completion.text} | ending
        choice |= {"prompt_logprobs": None, "prompt_token_ids": None}
    choice["routed_experts"] = None
    body: dict[str, Any] = {
        "id": completion_id,
        "object": "chat.completion" if chat else "text_completion",
        "created": created,
        "model": model,
        "choices": [choice],
        "service_tier": None,
        "system_fingerprint": FINGERPRINT,
        "usage": completion.usage.as_json()
        | {"prompt_tokens_details": None, "completion_tokens_details": None},
    }
    if chat:
        body |= {"prompt_logprobs": None, "prompt_token_ids": None, "prompt_text": None}
    return _json(body | {"kv_transfer_params": None, "ec_transfer_params": None, "metrics": None}).encode()


def _message(text: str) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": text,
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "reasoning": None,
    }


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
