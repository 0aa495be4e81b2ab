"""slow_first_token: prompts queue up or the cache went cold; the first token comes late, the rest in time."""

from __future__ import annotations

from collections.abc import AsyncIterator

from chaos.proxy.http.exchange import Exchange
from chaos.proxy.http.faults.fault import HttpFault
from chaos.proxy.http.faults.stream import DELAY
from chaos.proxy.http.sse import SseEvent


class SlowFirstToken(HttpFault):
    """The first token comes `delay_s` later; the head of the answer does not."""

    type = "slow_first_token"
    parameters = (DELAY,)

    def apply(self, exchange: Exchange) -> None:
        exchange.change_events(lambda _, events: self._delayed(exchange, events))

    async def _delayed(self, exchange: Exchange, events: AsyncIterator[SseEvent]) -> AsyncIterator[bytes]:
        waiting = True
        async for event in events:
            if waiting and (event.has_token or event.is_end):
                waiting = False
                if not exchange.is_off:
                    exchange.strike(size=len(event.raw))
                    await exchange.pause(self.attributes["delay_s"])
            yield event.raw
