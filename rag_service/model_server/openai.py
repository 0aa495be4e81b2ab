"""The shapes of OpenAI's chat completions as vLLM speaks them: requests, chunks, answers, errors.

A chunk is encoded once per request around its text, not once per token: at 10,000 tokens a second the
encoder would otherwise be most of the cost.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

DONE = b"data: [DONE]\n\n"

_TOKEN = re.compile(r"\s*\S+")
FinishReason = Literal["stop", "length", "abort"]


class ApiError(Exception):
    """An error in vLLM's words: `{"error": {"message", "type", "param", "code"}}`."""

    def __init__(
        self,
        code: int,
        kind: str,
        message: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.kind = kind
        self.param = param
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        return {"error": {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}}


def retry_after(seconds: float | None) -> dict[str, str]:
    """The header, in whole seconds as HTTP wants it; none where nothing is said."""
    return {} if seconds is None else {"Retry-After": str(math.ceil(seconds))}


class TextPart(BaseModel):
    """One part of a message's content; a text model takes text only."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One turn of the chat."""

    role: str
    content: str | list[TextPart] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(BaseModel):
    """What a stream should carry besides its tokens."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """A chat completion request. Sampling fields are taken and ignored: extraction has nothing to sample."""

    model_config = ConfigDict(extra="ignore")

    model: str
    messages: list[Message] = Field(min_length=1, max_length=1000)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    stop: str | list[str] | None = None
    n: Literal[1] = 1

    @property
    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def stops(self) -> list[str]:
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [text for text in given if text]

    @property
    def question(self) -> str:
        """The text of the last message of the user."""
        users = [message for message in self.messages if message.role == "user"]
        return users[-1].text if users else ""


@dataclass(frozen=True, slots=True)
class Completion:
    """The tokens of an answer and why they end. A token is a word with the space before it."""

    tokens: tuple[str, ...]
    finish_reason: FinishReason
    prompt_tokens: int

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def usage(self) -> dict[str, int]:
        count = len(self.tokens)
        total = self.prompt_tokens + count
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": count, "total_tokens": total}


def parse_request(body: bytes) -> ChatRequest:
    """The request in a body. Raises ApiError 400 with the field, the value and what is allowed."""
    try:
        return ChatRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or None
        given = "" if first["type"] in ("missing", "json_invalid") else f", got {first['input']!r:.80}"
        where = f"{field}: " if field else ""
        raise ApiError(400, "BadRequestError", f"{where}{first['msg']}{given}", field) from None


def complete(request: ChatRequest, text: str) -> Completion:
    """The text as far as `stop` and `max_tokens` let it come."""
    ends = [position for stop in request.stops if (position := text.find(stop)) >= 0]
    if ends:
        text = text[: min(ends)]
    tokens = _TOKEN.findall(text)
    reason: FinishReason = "stop"
    if request.limit is not None and len(tokens) > request.limit:
        tokens = tokens[: request.limit]
        reason = "length"
    prompt_tokens = sum(len(message.text.split()) for message in request.messages)
    return Completion(tuple(tokens), reason, prompt_tokens)


class ChunkEncoder:
    """Encodes the events of one stream."""

    def __init__(self, completion_id: str, created: int, model: str, *, usage: bool) -> None:
        head = {"id": completion_id, "object": "chat.completion.chunk", "created": created, "model": model}
        self._head = json.dumps(head)[:-1]
        self._tail = ', "usage": null' if usage else ""
        self._before = f'data: {self._head}, "choices": [{{"index": 0, "delta": {{"content": '
        self._after = f'}}, "logprobs": null, "finish_reason": null}}]{self._tail}}}\n\n'

    def role(self) -> bytes:
        """The first event: who speaks, no text yet."""
        return self._choice({"role": "assistant", "content": ""}, None)

    def token(self, text: str) -> bytes:
        """The event of one token."""
        return (self._before + json.dumps(text) + self._after).encode()

    def finish(self, reason: FinishReason) -> bytes:
        """The last event with a choice: why the answer ends."""
        return self._choice({}, reason)

    def usage(self, usage: dict[str, int]) -> bytes:
        """The event after the last choice, for those who asked with `stream_options`."""
        return f'data: {self._head}, "choices": [], "usage": {json.dumps(usage)}}}\n\n'.encode()

    def _choice(self, delta: dict[str, str], reason: FinishReason | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return f'data: {self._head}, "choices": [{json.dumps(choice)}]{self._tail}}}\n\n'.encode()


def completion_body(completion_id: str, created: int, model: str, completion: Completion) -> dict[str, Any]:
    """The whole answer to a request that did not ask for a stream."""
    message = {"role": "assistant", "content": completion.text}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": completion.finish_reason}
    return {
        "id": completion_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [choice],
        "usage": completion.usage,
    }
