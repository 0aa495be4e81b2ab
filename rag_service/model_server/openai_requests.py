"""The requests of OpenAI's chat and text completions with vLLM's own additions, as far as they matter here.

Sampling fields are taken and ignored: extraction has nothing to sample. Unknown fields are ignored, too, as
vLLM ignores them. What the simulator cannot do (several answers, log probabilities, tools) is refused rather
than left out in silence.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rag_service.model_server.openai_errors import ApiError, bad_request, unreadable
from rag_service.model_server.tokens import split

Kind = Literal["chat", "text"]

TokenId = Annotated[int, Field(ge=0)]

#: A template's own tokens, as Llama 3's has them; none of them can come out of a text.
_BEGIN, _HEAD, _HEAD_END, _BREAK, _END = "<begin>", "<head>", "</head>", "<break>", "<end>"

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

    include_usage: bool | None = True
    continuous_usage_stats: bool | None = False


class CompletionRequest(BaseModel):
    """What both kinds of request have in common."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = 1
    logprobs: Literal[False] | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    stop: str | list[str] | None = None
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    min_tokens: int = 0

    @property
    def kind(self) -> Kind:
        raise NotImplementedError

    @property
    def limit(self) -> int | None:
        """How many tokens the caller asks for at most; None fills the context."""
        raise NotImplementedError

    def prompt_tokens(self) -> list[str]:
        """All that the model reads."""
        raise NotImplementedError

    @property
    def question(self) -> str:
        """What is to be answered: a chat's last message of the user, or the whole prompt."""
        raise NotImplementedError

    @property
    def stops(self) -> list[str]:
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [text for text in given if text]

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

    messages: list[Message] = Field(min_length=1, max_length=1000)
    max_tokens: int | None = None
    max_completion_tokens: int | None = None

    @property
    def kind(self) -> Kind:
        return "chat"

    @property
    def limit(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    def prompt_tokens(self) -> list[str]:
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

    prompt: Annotated[str, Field(min_length=1)] | Annotated[list[TokenId], Field(min_length=1)]
    max_tokens: int | None = TEXT_MAX_TOKENS
    echo: Literal[False] | None = None

    @property
    def kind(self) -> Kind:
        return "text"

    @property
    def limit(self) -> int | None:
        return self.max_tokens

    def prompt_tokens(self) -> list[str]:
        return split(self.prompt) if isinstance(self.prompt, str) else [str(token) for token in self.prompt]

    @property
    def question(self) -> str:
        return self.prompt if isinstance(self.prompt, str) else ""


R = TypeVar("R", bound=CompletionRequest)


def parse_request(kind: type[R], body: bytes) -> R:
    """The request in a body. Raises ApiError 400 with the field, the value and what is allowed.

    Numbers of tokens are judged later, against the prompt (`completion.output_limit`).
    """
    try:
        request = kind.model_validate_json(body)
    except ValidationError as error:
        raise _refused(error) from None
    if request.stream_options is not None and not request.stream:
        raise bad_request("Stream options can only be defined when `stream=True`.", "stream_options")
    return request


def _refused(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or None
    given = f", got {first['input']!r:.80}"
    if first["type"] in ("missing", "json_invalid"):
        given = ""
    where = f"{field}: " if field else ""
    return unreadable(f"{where}{first['msg']}{given}", field)
