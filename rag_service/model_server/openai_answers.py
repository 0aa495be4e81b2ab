"""Answers as vLLM writes them: the events of a stream, and the body of an answer in one piece.

Every field that vLLM 0.32 sends is there, in its order and its compact JSON, so that a client which reads
bytes rather than objects reads the same. An event is encoded around its text once per request, not once per
token: at 20,000 tokens a second the encoder would otherwise be most of the cost.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring
from typing import Any

from rag_service.model_server.completion import Completion, FinishReason, Usage
from rag_service.model_server.openai_requests import CompletionRequest

DONE = b"data: [DONE]\n\n"


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
            self._end = "}\n\n"
        else:
            self._before = f'{self._head}{choice}"text":'
            self._after = (
                ',"logprobs":null,"finish_reason":null,"stop_reason":null,'
                '"prompt_token_ids":null,"token_ids":null}]'
            )
            self._end = ',"usage":null}\n\n'
        self._last = len(completion.tokens) - 1

    def opening(self) -> bytes:
        """What comes before the first token: who speaks, in a chat; nothing in a text."""
        if not self._chat:
            return b""
        choice = '{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}'
        return f'{self._head}"choices":[{choice}],"prompt_token_ids":null{self._tail(0)}'.encode()

    def tokens(self, first: int, after: int) -> bytes:
        """The events of the tokens from `first` up to, not including, `after`, one for each."""
        last = first < after == self._last + 1
        plain = range(first, after - last)
        said = self._completion.tokens
        if self._throughout:
            events = [
                f"{self._before}{encode_basestring(said[position])}{self._after}{self._tail(position + 1)}"
                for position in plain
            ]
        else:
            before, end = self._before, f"{self._after}{self._end}"
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
        return f'{self._head}"choices":[],"usage":{usage}}}\n\n'.encode() + DONE

    def _final(self, text: str) -> str:
        completion = self._completion
        return self._finish(text, completion.finish_reason, completion.stop_reason, self._last + 1)

    def _finish(self, text: str, reason: FinishReason, stop: str | None, count: int) -> str:
        why = f'"finish_reason":"{reason}","stop_reason":{_json(stop)}'
        if self._chat:
            after = f'}},"logprobs":null,{why},"token_ids":null}}]'
        else:
            after = f',"logprobs":null,{why},"prompt_token_ids":null,"token_ids":null}}]'
        return f"{self._before}{encode_basestring(text)}{after}{self._tail(count)}"

    def _tail(self, count: int) -> str:
        """The end of an event after its choices, with the usage so far where that is wanted."""
        if not self._throughout:
            return self._end
        usage = Usage(self._completion.prompt_tokens, count).as_json()
        return f',"usage":{_json(usage)}}}\n\n'


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
    body: dict[str, Any] = {
        "id": completion_id,
        "object": "chat.completion" if chat else "text_completion",
        "created": created,
        "model": model,
        "choices": [choice],
        "service_tier": None,
        "system_fingerprint": None,
        "usage": completion.usage.as_json() | {"prompt_tokens_details": None},
    }
    if chat:
        body |= {"prompt_logprobs": None, "prompt_token_ids": None}
    return _json(body | {"kv_transfer_params": None}).encode()


def _message(text: str) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": text,
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "tool_calls": [],
        "reasoning": None,
    }


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
