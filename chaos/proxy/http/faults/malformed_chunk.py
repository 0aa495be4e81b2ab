"""malformed_chunk: an event that is no JSON between good ones, as a gateway's bug in re-encoding makes it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from chaos.proxy.http.exchange import Exchange
from chaos.proxy.http.faults.stream import AFTER_TOKENS, AfterTokens
from chaos.proxy.http.sse import SseEvent

_BROKEN = b'data: {"id": "chatcmpl-0", "choices": [{"index": 0, "delta": {"cont\n\n'


class MalformedChunk(AfterTokens):
    """One broken event more; the tokens after it are good again."""

    type = "malformed_chunk"
    parameters = (AFTER_TOKENS,)

    async def act(self, exchange: Exchange, last: SseEvent | None) -> AsyncIterator[bytes]:  # noqa: ARG002
        exchange.strike(f"a broken event after {self.attributes['after_tokens']} tokens", size=len(_BROKEN))
        yield _BROKEN
