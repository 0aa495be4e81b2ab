"""truncate: a body that ends well, an answer that does not; some proxies end a stream at their own limit."""

from __future__ import annotations

from collections.abc import AsyncIterator

from chaos.proxy.http.exchange import Exchange
from chaos.proxy.http.faults.stream import AFTER_TOKENS, AfterTokens, EndAnswer
from chaos.proxy.http.sse import SseEvent


class Truncate(AfterTokens):
    """The body ends as HTTP wants it, without a finish reason and without `[DONE]`."""

    type = "truncate"
    parameters = (AFTER_TOKENS,)

    async def act(self, exchange: Exchange, last: SseEvent | None) -> AsyncIterator[bytes]:  # noqa: ARG002
        exchange.strike(f"ended after {self.attributes['after_tokens']} tokens")
        raise EndAnswer
        yield b""  # what makes this a generator
