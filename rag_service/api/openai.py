"""The OpenAI dialect: `POST /v1/chat/completions`, so that any OpenAI client or LLM load tool can ask.

The last message, which must be the user's, is the question. Earlier messages are read and set aside: the
service has no memory, and a system prompt of the caller's must not replace the one that keeps answers to the
documents. Standard fields that steer sampling are accepted without effect (clients send them unasked); those
that would change the answer's shape are refused by name: ignoring them in silence would be a wrong answer.
What OpenAI has no field for (outcome, citations, degradations, trace) travels in `ragquake`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from rag_service.api.face import Refusal, Told
from rag_service.api.schema import (
    BadRequest,
    Criticality,
    FieldMistake,
    Integral,
    QuestionText,
    SessionId,
    TopK,
    parse_as,
)
from rag_service.api.sse import Frames, encode
from rag_service.resilience.stream import Usage

WallClock = Callable[[], float]
_MOST_MESSAGES = 256
_MOST_BIASES = 1024
#: Of the parts of one message, tool calls, stop sequences and the like.
_MOST_ITEMS = 256
_DONE = b"data: [DONE]\n\n"
_QUESTION: TypeAdapter[str] = TypeAdapter(QuestionText)

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Text = Annotated[str, StringConstraints(max_length=32 * 1024)]
_Tag = Annotated[str, StringConstraints(max_length=256)]
_Bounded = Field(max_length=_MOST_ITEMS)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TextPart(_Model):
    """A piece of a message; images and sounds are refused."""

    type: Literal["text"]
    text: _Text


class Message(_Model):
    """One turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: _Text | Annotated[list[TextPart], _Bounded] | None = None
    name: _Tag | None = None
    refusal: _Text | None = None
    tool_calls: Annotated[list[dict[str, Any]], _Bounded] | None = None
    tool_call_id: _Tag | None = None

    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(_Model):
    """What a stream contains."""

    include_usage: bool = False


class TextFormat(_Model):
    """The only format of an answer."""

    type: Literal["text"]


class Extension(_Model):
    """What `POST /v1/answers` takes and OpenAI has no field for."""

    top_k: TopK = 5
    criticality: Criticality = "normal"
    session_id: SessionId | None = None


class ChatRequest(_Model):
    """The body of `POST /v1/chat/completions`."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    messages: Annotated[list[Message], Field(min_length=1, max_length=_MOST_MESSAGES)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    ragquake: Extension = Extension()
    # allowed with these values only: any other would change the answer's shape
    n: Literal[1] | None = None
    logprobs: Literal[False] | None = None
    response_format: TextFormat | None = None
    modalities: Annotated[list[Literal["text"]], Field(max_length=1)] | None = None
    tools: Annotated[list[dict[str, Any]], Field(max_length=0)] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    # accepted without effect
    temperature: Annotated[_Number, Field(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[_Number, Field(ge=0.0, le=1.0)] | None = None
    presence_penalty: _Number | None = None
    frequency_penalty: _Number | None = None
    max_tokens: Annotated[int, Field(ge=1), Integral] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1), Integral] | None = None
    stop: _Tag | Annotated[list[_Tag], _Bounded] | None = None
    seed: Annotated[int, Integral] | None = None
    logit_bias: Annotated[dict[str, _Number], Field(max_length=_MOST_BIASES)] | None = None
    top_logprobs: Literal[0] | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: _Tag | None = None
    verbosity: _Tag | None = None
    user: _Tag | None = None
    safety_identifier: _Tag | None = None
    prompt_cache_key: _Tag | None = None
    service_tier: _Tag | None = None
    store: bool | None = None
    metadata: Annotated[dict[str, str], _Bounded] | None = None


class ChatFrames:
    """The chunks of one streamed completion: the role first, `[DONE]` only after a whole answer."""

    def __init__(self, told: Told, head: dict[str, Any], include_usage: bool) -> None:
        self._told = told
        self._head = head
        self._include_usage = include_usage
        # All of a token's chunk but its text is the same, so it is encoded once.
        before, _, after = encode(self._chunk({"content": "\0"}, None)).partition('"\\u0000"')
        self._before, self._after = f"data: {before}".encode(), f"{after}\n\n".encode()

    def opening(self) -> bytes:
        return _data(
            self._chunk({"role": "assistant", "content": ""}, None) | {"ragquake": self._told.head()}
        )

    def token(self, text: str) -> bytes:
        return self._before + encode(text).encode() + self._after

    def done(self) -> bytes:
        ending = self._chunk({}, self._told.answer.tokens.finish_reason) | {"ragquake": self._told.tail()}
        usage = b""
        if self._include_usage:
            usage = _data(self._head | {"choices": [], "usage": _usage(self._told)})
        return _data(ending) + usage + _DONE

    def error(self, code: str, message: str) -> bytes:
        return _data(
            {
                "error": _error(message, code, kind="server_error"),
                "ragquake": {"outcome": "error", "partial": True, "trace_id": self._told.trace_id},
            }
        )

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        chunk = self._head | {"choices": [choice]}
        return chunk | {"usage": None} if self._include_usage else chunk


@dataclass(frozen=True, slots=True)
class ChatExchange:
    """One question, answered as a chat completion or as its chunks."""

    question: str
    top_k: int
    stream: bool
    criticality: Criticality
    model: str
    include_usage: bool
    created: int

    def whole(self, told: Told, text: str) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "refusal": None}
        finish_reason = told.answer.tokens.finish_reason
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
        return self._head(told, "chat.completion") | {
            "choices": [choice],
            "usage": _usage(told),
            "ragquake": told.head() | {"timings_ms": told.answer.timings.total()},
        }

    def frames(self, told: Told) -> Frames:
        return ChatFrames(told, self._head(told, "chat.completion.chunk"), self.include_usage)

    def _head(self, told: Told, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{told.trace_id}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": None,
        }


class OpenAIFace:
    """Reads and refuses as OpenAI's API does."""

    def __init__(self, model: str, wall_clock: WallClock = time.time) -> None:
        self.model = model
        self._wall_clock = wall_clock
        self._since = int(wall_clock())

    def parse(self, body: bytes) -> ChatExchange:
        asked = parse_as(ChatRequest, body, status=400)
        if asked.model != self.model:
            mistake = FieldMistake("model", repr(asked.model)[:100], f"allowed is {self.model}")
            message = f"model: {mistake.value} is not served here; {mistake.message}"
            raise BadRequest(404, message, (mistake,), code="model_not_found")
        last = asked.messages[-1]
        if last.role != "user":
            mistake = FieldMistake(
                f"messages.{len(asked.messages) - 1}.role",
                repr(last.role),
                "the last message must be the user's",
            )
            raise BadRequest(400, f"{mistake.field}: {mistake.message} (it was {mistake.value})", (mistake,))
        return ChatExchange(
            question=_question(last, len(asked.messages) - 1),
            top_k=asked.ragquake.top_k,
            stream=bool(asked.stream),
            criticality=asked.ragquake.criticality,
            model=self.model,
            include_usage=asked.stream_options is not None and asked.stream_options.include_usage,
            created=int(self._wall_clock()),
        )

    def refusal(self, refusal: Refusal) -> dict[str, Any]:
        if refusal.wrong is None:
            error = _error(refusal.message, refusal.code, kind="server_error")
        else:
            field = refusal.wrong.mistakes[0].field if refusal.wrong.mistakes else None
            error = _error(refusal.message, refusal.code, kind="invalid_request_error", param=field)
        return {"error": error, "ragquake": refusal.ending()}

    def models(self) -> dict[str, Any]:
        """The body of `GET /v1/models`."""
        model = {"id": self.model, "object": "model", "created": self._since, "owned_by": "ragquake"}
        return {"object": "list", "data": [model]}


def _question(message: Message, index: int) -> str:
    try:
        return _QUESTION.validate_python(message.text())
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        mistake = FieldMistake(f"messages.{index}.content", repr(problem["input"])[:100], problem["msg"])
        raise BadRequest(400, f"{mistake.field}: {mistake.message}", (mistake,)) from None


def _usage(told: Told) -> dict[str, int]:
    """Tokens as the model server counted them; an answer that was made without it used none."""
    usage: Usage | None = getattr(told.answer.tokens, "usage", None)
    prompt, completion = (usage.input_tokens, usage.output_tokens) if usage else (0, 0)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _error(message: str, code: str, *, kind: str, param: str | None = None) -> dict[str, Any]:
    return {"message": message, "type": kind, "param": param, "code": code}


def _data(chunk: dict[str, Any]) -> bytes:
    return f"data: {encode(chunk)}\n\n".encode()
