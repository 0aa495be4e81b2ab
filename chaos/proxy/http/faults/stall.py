"""stall: silence in mid-answer while the connection lives on (LiteLLM's issue 40404).

With `ping_s` SSE comments go on, as gateways send them to keep connections open: a client that times bytes
rather than tokens then waits for ever.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from chaos.proxy.http.exchange import Exchange
from chaos.proxy.http.faults.fault import MAX_DELAY_S, Parameter
from chaos.proxy.http.faults.stream import AFTER_TOKENS, AfterTokens
from chaos.proxy.http.sse import SseEvent

_PING = b": ping\n\n"


class Stall(AfterTokens):
    """No further token, until the client hangs up, the fault is removed or `for_s` is over."""

    type = "stall"
    parameters = (
        AFTER_TOKENS,
        Parameter("for_s", float, None, 0.001, MAX_DELAY_S),
        Parameter("ping_s", float, None, 0.001, MAX_DELAY_S),
    )

    async def act(self, exchange: Exchange, last: SseEvent | None) -> AsyncIterator[bytes]:  # noqa: ARG002
        exchange.strike(f"silent after {self.attributes['after_tokens']} tokens")
        left_s, ping_s = self.attributes["for_s"], self.attributes["ping_s"]
        while ping_s is not None and (left_s is None or left_s > ping_s):
            await exchange.pause(ping_s)
            if exchange.is_off:
                return
            yield _PING
            left_s = None if left_s is None else left_s - ping_s
        await exchange.pause(left_s)
