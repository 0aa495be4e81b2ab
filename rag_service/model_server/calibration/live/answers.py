"""One streamed answer, timed from outside: when it was asked for, its first token, its last, how many.

A server may put several tokens into one event, or several events into one packet, so tokens are not timed
one by one: the time per token is `(last - first) / (tokens - 1)`, as the published figures have it, and the
number of tokens is what the server's own usage says. Bytes are kept with the moment of their arrival and
read when the answer is over, so that reading does not delay the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rag_service.model_server.calibration.live.errors import CalibrationError

_DATA = b"data:"
_DONE = b"[DONE]"


@dataclass(frozen=True, slots=True)
class Answer:
    """How long it took. `pieces` is in how many moments text came: one means that nothing was streamed."""

    first_token_s: float
    token_s: float
    prompt_tokens: int
    output_tokens: int
    pieces: int


@dataclass(slots=True)
class _Reading:
    first_s: float | None = None
    last_s: float = 0.0
    pieces: int = 0
    usage: dict[str, Any] | None = None
    done: bool = False

    def take(self, at_s: float, data: bytes) -> None:
        """One event."""
        if data == _DONE:
            self.done = True
            return
        event = json.loads(data)
        if "error" in event:
            raise CalibrationError(f"the server broke an answer off: {event['error']}")
        self.usage = event.get("usage") or self.usage
        for choice in event.get("choices") or ():
            if (choice.get("delta") or {}).get("content"):
                if self.first_s is None:
                    self.first_s = at_s
                if at_s > self.last_s:
                    self.pieces += 1
                self.last_s = at_s


def read(asked_s: float, received: Iterable[tuple[float, bytes]]) -> Answer:
    """The answer in what was received, each piece with its moment. Raises CalibrationError."""
    reading, rest = _Reading(), b""
    try:
        for at_s, data in received:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.startswith(_DATA):
                    reading.take(at_s, line[len(_DATA) :].strip())
    except (ValueError, AttributeError, TypeError) as error:
        raise CalibrationError(f"an event of the stream is not what OpenAI's API says: {error}") from error
    if not reading.done:
        raise CalibrationError("an answer ended without [DONE]; the server broke it off")
    if reading.first_s is None:
        raise CalibrationError("an answer ended without any text, so there is no first token to time")
    usage = reading.usage or {}
    try:
        prompt_tokens, output_tokens = int(usage["prompt_tokens"]), int(usage["completion_tokens"])
    except (KeyError, TypeError, ValueError):
        raise CalibrationError(
            "the server sends no usage at the end of a stream (stream_options.include_usage), and without "
            "the numbers of tokens nothing can be fitted"
        ) from None
    between = max(output_tokens - 1, 1)
    return Answer(
        first_token_s=reading.first_s - asked_s,
        token_s=(reading.last_s - reading.first_s) / between,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        pieces=reading.pieces,
    )
