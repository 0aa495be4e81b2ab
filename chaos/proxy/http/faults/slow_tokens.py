"""slow_tokens: too many sequences in the batch; every token after the first comes late."""

from __future__ import annotations

from collections.abc import AsyncIterator

from chaos.proxy.http.exchange import Exchange
from chaos.proxy.http.faults.fault import HttpFault
from chaos.proxy.http.faults.stream import DELAY
from chaos.proxy.http.sse import SseEvent


class SlowTokens(HttpFault):
    """Each token but the first comes `delay_s` after the one before it, or later."""

    type = "slow_tokens"
    parameters = (DELAY,)

    def apply(self, exchange: Exchange) -> None:
        exchange.change_events(lambda _, events: self._slowed(exchange, events))

    async def _slowed(self, exchange: Exchange, events: AsyncIterator[SseEvent]) -> AsyncIterator[bytes]:
        first = True
        async for event in events:
            if event.has_token:
                if not first and not exchange.is_off:
                    exchange.strike(size=len(event.raw))
                    await exchange.pause(self.attributes["delay_s"])
                first = False
            yield event.raw
