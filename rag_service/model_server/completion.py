"""What is answered, token by token, and why it ends: decided as a whole before the first token.

An answer's text is known when its question comes, so `stop`, `max_tokens`, `min_tokens` and `ignore_eos` can
be settled at once, with vLLM's rules (0.32): the token that says "end of text" counts and carries no text;
the tokens that complete a stop text count, but what is sent ends before it; `min_tokens` holds both back.
Where more is wanted than the context offers, the answer is said again: load tools force lengths that way.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice, pairwise, repeat
from typing import Literal

from rag_service.model_server.openai_errors import bad_request, too_long
from rag_service.model_server.openai_refusals import refuse_what_cannot_be_sampled
from rag_service.model_server.openai_requests import CompletionRequest
from rag_service.model_server.tokens import split

FinishReason = Literal["stop", "length", "abort"]
_END_OF_TEXT = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int

    def as_json(self) -> dict[str, int]:
        """In vLLM's order."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "completion_tokens": self.completion_tokens,
        }


@dataclass(frozen=True, slots=True)
class Completion:
    """The tokens of an answer (never none) and why they end; `stop_reason` is the stop text that came up."""

    tokens: tuple[str, ...]
    finish_reason: FinishReason
    prompt_tokens: int
    stop_reason: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def usage(self) -> Usage:
        return Usage(self.prompt_tokens, len(self.tokens))

    def aborted(self, count: int) -> Completion:
        """What is left of it when the engine gives it up after `count` tokens."""
        return Completion(self.tokens[:count], "abort", self.prompt_tokens)


def output_limit(request: CompletionRequest, prompt_tokens: int, max_model_len: int) -> int:
    """How many tokens are given at most: what was asked for, as far as the prompt leaves room.

    Raises ApiError 400 for numbers that cannot be, and for a prompt that leaves no room at all, in vLLM's
    order: what is asked for, the prompt, what is left.
    """
    asked = request.limit
    if asked is not None and asked > max_model_len:
        raise bad_request(
            f"{request.limit_name}={asked} cannot be greater than max_model_len={max_model_len}. Please "
            "request fewer output tokens.",
            request.limit_name,
            asked,
        )
    room = max_model_len - prompt_tokens
    if room < 0:
        raise too_long(max_model_len)
    refuse_what_cannot_be_sampled(request)
    limit = room if asked is None else min(asked, room)
    if limit < 1:
        raise bad_request(f"max_tokens must be at least 1, got {limit}.", "max_tokens", limit)
    if request.min_tokens < 0:
        raise bad_request(f"min_tokens must be greater than or equal to 0, got {request.min_tokens}.")
    if request.min_tokens > limit:
        raise bad_request(
            f"min_tokens must be less than or equal to max_tokens={limit}, got {request.min_tokens}."
        )
    return limit


def complete(request: CompletionRequest, text: str, prompt_tokens: int, limit: int) -> Completion:
    """The text as far as the request lets it come; `text` must not be empty."""
    said = split(text)
    wanted = limit if request.ignore_eos else min(max(len(said), request.min_tokens), limit)
    tokens = list(islice(chain(said, chain.from_iterable(repeat(split(f" {text}")))), wanted))
    stopped = _stopped(tokens, request)
    if stopped is not None:
        return Completion(stopped.tokens, "stop", prompt_tokens, stopped.by)
    if len(tokens) == limit:
        return Completion(tuple(tokens), "length", prompt_tokens)
    return Completion((*tokens, _END_OF_TEXT), "stop", prompt_tokens)


@dataclass(frozen=True, slots=True)
class _Stopped:
    tokens: tuple[str, ...]
    by: str


def _stopped(tokens: Sequence[str], request: CompletionRequest) -> _Stopped | None:
    """The tokens up to the one that completes a stop text, without that text."""
    if not request.stops:
        return None
    text = "".join(tokens)
    ends = [0, *accumulate(map(len, tokens))]
    held_back = ends[min(request.min_tokens, len(tokens))]  # what completes in here is not looked at
    found = []
    for stop in request.stops:
        start = text.find(stop, max(held_back - len(stop) + 1, 0))
        if start >= 0:
            found.append((start + len(stop), start, stop))
    if not found:
        return None
    completed, start, stop = min(found)
    kept = completed if request.include_stop_str_in_output else start
    last = bisect_left(ends, completed)
    return _Stopped(tuple(text[begin : min(end, kept)] for begin, end in pairwise(ends[: last + 1])), stop)
