"""The requests of OpenAI's chat and text completions with vLLM's own additions, as far as they matter here.

Sampling fields are checked and have no effect: extraction has nothing to sample. Unknown fields are ignored,
as vLLM ignores them. What vLLM does and the simulator cannot is refused (`openai_refusals`).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rag_service.model_server.openai_errors import ApiError, bad_request, unreadable
from rag_service.model_server.openai_refusals import refuse_what_cannot_be_done
from rag_service.model_server.tokens import split

Kind = Literal["chat", "text"]

TokenId = Annotated[int, Field(ge=0)]

#: A template's own tokens, as Llama 3's has them; none of them can come out of a text.
_BEGIN, _HEAD, _HEAD_END, _BREAK, _END = "<begin>", "<head>", "</head>", "<break>", "<end>"

#: vLLM's bounds of a seed and of the number of stop texts (`VLLM_MAX_STOP_STRINGS`).
_INT64 = 2**63
_MOST_STOPS = 4

#: Errors that an answer to a malformed request tells at most, and characters of a wrong value.
_MOST_ERRORS = 10
_MOST_CHARACTERS = 200

#: What vLLM generates at most when a text completion does not say how much (a chat fills the context).
TEXT_MAX_TOKENS = 16


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

    model_config = ConfigDict(extra="allow")

    include_usage: bool | None = False
    continuous_usage_stats: bool | None = False


class CompletionRequest(BaseModel, ABC):
    """What both kinds of request have in common."""

    model_config = ConfigDict(extra="allow")

    model: str | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    stop: str | Annotated[list[str], Field(max_length=_MOST_STOPS)] | None = None
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    max_tokens: int | None = None
    min_tokens: int = 0
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: Annotated[int, Field(ge=-_INT64, le=_INT64 - 1)] | None = None
    cache_salt: str | None = None
    request_id: str | None = None

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """Which endpoint it came to."""

    @property
    def limit(self) -> int | None:
        """How many tokens the caller asks for at most; None fills the context."""
        return self.max_tokens

    @property
    def limit_name(self) -> str:
        """The field that says so."""
        return "max_tokens"

    def prompt_tokens(self) -> list[str]:
        """All that the model reads. With another salt the same words share nothing in the prefix cache."""
        tokens = self._tokens()
        return tokens if self.cache_salt is None else [f"{self.cache_salt}@{tokens[0]}", *tokens[1:]]

    @abstractmethod
    def _tokens(self) -> list[str]:
        """All that the model reads, before any salt."""

    @property
    @abstractmethod
    def question(self) -> str:
        """What is to be answered: a chat's last message of the user, or the whole prompt."""

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def usage_wanted(self) -> bool:
        """Whether a stream ends with its usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def usage_wanted_throughout(self) -> bool:
        """Whether every chunk of a stream carries the usage so far."""
        return self.usage_wanted and bool(self.stream_options and self.stream_options.continuous_usage_stats)


class ChatRequest(CompletionRequest):
    """`POST /v1/chat/completions`."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = None

    @property
    def kind(self) -> Kind:
        return "chat"

    @property
    def limit(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def limit_name(self) -> str:
        return "max_tokens" if self.max_completion_tokens is None else "max_completion_tokens"

    def _tokens(self) -> list[str]:
        """The messages as a chat template puts them together: a head and an end to each, and a last head."""
        tokens = [_BEGIN]
        for message in self.messages:
            tokens += (_HEAD, message.role, _HEAD_END, _BREAK, *split(message.text), _END)
        return [*tokens, _HEAD, "assistant", _HEAD_END, _BREAK]

    @property
    def question(self) -> str:
        users = [message for message in self.messages if message.role == "user"]
        return users[-1].text if users else ""


class TextRequest(CompletionRequest):
    """`POST /v1/completions`."""

    prompt: str | list[TokenId] | list[str] | list[list[TokenId]] | None = None

    @property
    def kind(self) -> Kind:
        return "text"

    @property
    def limit(self) -> int | None:
        return TEXT_MAX_TOKENS if self.max_tokens is None else self.max_tokens

    @property
    def only_prompt(self) -> str | list[int]:
        """The prompt; a list of prompts has one here (`parse_request`)."""
        first = self.prompt[0] if self.prompt else ""
        if isinstance(self.prompt, str) or isinstance(first, int):
            return self.prompt  # type: ignore[return-value]  # a list of numbers is one prompt
        return first

    def _tokens(self) -> list[str]:
        prompt = self.only_prompt
        return split(prompt) if isinstance(prompt, str) else [str(token) for token in prompt]

    @property
    def question(self) -> str:
        return self.only_prompt if isinstance(self.only_prompt, str) else ""


R = TypeVar("R", bound=CompletionRequest)


def parse_request(kind: type[R], body: bytes) -> R:
    """The request in a body. Raises ApiError 400 with the field, the value and what is allowed.

    Numbers of tokens are judged later, against the prompt (`completion.output_limit`).
    """
    try:
        request = kind.model_validate_json(body)
    except ValidationError as error:
        raise _refused(error, body) from None
    options = request.stream_options
    if options is not None and options.model_fields_set and not request.stream:
        raise bad_request("Stream options can only be defined when `stream=True`.", "stream_options")
    if request.cache_salt == "":
        raise bad_request("Parameter 'cache_salt' must be a non-empty string if provided.", "cache_salt")
    if isinstance(request, TextRequest):
        _check_prompt(request)
    refuse_what_cannot_be_done(request.kind, request.model_extra or {})
    return request


def _check_prompt(request: TextRequest) -> None:
    """One prompt, which says something."""
    prompts = request.prompt
    if isinstance(prompts, list) and len(prompts) > 1 and not isinstance(prompts[0], int):
        raise bad_request(f"This simulator answers one prompt a request, got {len(prompts)}.", "prompt")
    if not prompts or not request.only_prompt:
        raise bad_request("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")


def _refused(error: ValidationError, body: bytes) -> ApiError:
    """The errors as FastAPI finds and vLLM writes them: a list of dicts, and the first one's place."""
    found = error.errors(include_url=False)
    if found[0]["type"] != "json_invalid":
        problems = [
            _problem(one["type"], _place(one["loc"]), one["msg"], one["input"])
            | ({"ctx": one["ctx"]} if "ctx" in one else {})
            for one in found
        ]
    elif body.strip():
        why = {"error": found[0]["msg"]}
        problems = [_problem("json_invalid", _broken_at(body), "JSON decode error", {}) | {"ctx": why}]
    else:
        problems = [_problem("missing", "body", "Field required", None)]
    count = f"{len(problems)} validation error{'s' * (len(problems) > 1)}:"
    lines = "".join(f"\n  {problem}" for problem in problems[:_MOST_ERRORS])
    more = f"\n  ...and {len(problems) - _MOST_ERRORS} more errors" if len(problems) > _MOST_ERRORS else ""
    return unreadable(f"{count}{lines}{more}", problems[0]["loc"])


def _problem(kind: str, place: str, said: str, value: object) -> dict[str, Any]:
    return {"type": kind, "loc": place, "msg": said, "input": _shown(value)}


def _broken_at(body: bytes) -> str:
    """`body.` and the character at which it ends to be JSON; `body` where Python cannot tell."""
    try:
        json.loads(body)
    except json.JSONDecodeError as error:
        return f"body.{error.pos}"
    except (ValueError, RecursionError):
        pass
    return "body"


def _place(loc: tuple[int | str, ...]) -> str:
    """A field's path below `body`, without the branches of a union that pydantic tried."""
    branches = ("str", "int", "TextPart")
    parts = [str(part) for part in loc if part not in branches and "[" not in str(part)]
    return ".".join(["body", *parts])


def _shown(value: object) -> str:
    """A wrong value as text, and short: a caller gets no megabytes back."""
    if isinstance(value, (list, dict)):
        return f"<{type(value).__name__} of {len(value)} items>"
    if isinstance(value, int) and value.bit_length() > _MOST_CHARACTERS:
        return "<int>"  # Python refuses to write very long ones
    text = str(value)
    return f"{text[:_MOST_CHARACTERS]}...[truncated]" if len(text) > _MOST_CHARACTERS else text
