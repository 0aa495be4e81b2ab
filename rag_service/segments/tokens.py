"""The text of an answer as it comes, in three shapes: from the model, whole already, and listened to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from rag_service.resilience.stream import Usage


class Tokens(Protocol):
    """The text of an answer as it comes. Always close it."""

    @property
    def finish_reason(self) -> str | None: ...
    @property
    def usage(self) -> Usage | None: ...
    def __aiter__(self) -> AsyncIterator[str]: ...
    async def aclose(self) -> None: ...


class FixedText:
    """A text that is whole already, in the shape of a stream."""

    finish_reason: str | None = "stop"
    usage: Usage | None = None

    def __init__(self, text: str) -> None:
        self._text = text

    async def __aiter__(self) -> AsyncIterator[str]:
        yield self._text

    async def aclose(self) -> None:
        """Nothing to hang up on."""


class Recorded:
    """Passes `tokens` on, and hands the whole text to `keep` once the model has said that it is whole.

    A stream that was cut, aborted, closed by its caller, or ended by its length is nobody's whole answer.
    """

    def __init__(self, tokens: Tokens, keep: Callable[[str], None]) -> None:
        self._tokens = tokens
        self._iterator = aiter(tokens)
        self._keep = keep
        self._said: list[str] = []

    @property
    def finish_reason(self) -> str | None:
        return self._tokens.finish_reason

    @property
    def usage(self) -> Usage | None:
        return self._tokens.usage

    def __aiter__(self) -> Recorded:
        return self

    async def __anext__(self) -> str:
        try:
            token = await anext(self._iterator)
        except StopAsyncIteration:
            if self._said and self._tokens.finish_reason == "stop":
                self._keep("".join(self._said))
                self._said = []
            raise
        self._said.append(token)
        return token

    async def aclose(self) -> None:
        await self._tokens.aclose()
