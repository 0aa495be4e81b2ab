"""What faults on a model server's stream share: they count tokens, and act once, after some of them.

They look at answers of type `text/event-stream` and leave others alone. A token is an event that brings text;
the opening event of a chat, pings and the events after the last token are none.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator

from chaos.proxy.http.exchange import Exchange
from chaos.proxy.http.faults.fault import MAX_DELAY_S, MAX_TOKENS, HttpFault, Parameter
from chaos.proxy.http.sse import SseEvent

AFTER_TOKENS = Parameter("after_tokens", int, None, 0, MAX_TOKENS, required=True)
DELAY = Parameter("delay_s", float, None, 0.001, MAX_DELAY_S, required=True)


class EndAnswer(Exception):
    """Raised by a fault: pass nothing more on, and end the answer as HTTP wants it."""


class AfterTokens(HttpFault):
    """A fault that acts once, when `after_tokens` tokens have passed."""

    def apply(self, exchange: Exchange) -> None:
        exchange.change_events(lambda _, events: self._follow(exchange, events))

    @abstractmethod
    def act(self, exchange: Exchange, last: SseEvent | None) -> AsyncIterator[bytes]:
        """What happens then, and what is sent; `last` is the last event that passed and is an object."""

    async def _follow(self, exchange: Exchange, events: AsyncIterator[SseEvent]) -> AsyncIterator[bytes]:
        after = self.attributes["after_tokens"]
        tokens = 0
        last: SseEvent | None = None
        waiting = True
        try:
            async for event in events:
                has_token = waiting and event.has_token
                if waiting and after == 0 and (has_token or event.is_end):
                    waiting = False
                    if not exchange.is_off:
                        async for raw in self.act(exchange, last):
                            yield raw
                yield event.raw
                if not waiting:
                    continue
                if event.json() is not None:
                    last = event
                tokens += has_token
                if has_token and tokens == after:
                    waiting = False
                    if not exchange.is_off:
                        async for raw in self.act(exchange, last):
                            yield raw
        except EndAnswer:
            return
