"""slow_body: the head of an answer comes in time, its body does not.

What a server does that has begun to answer and then waits for its disk or for a lock. A client whose timeout
counts from byte to byte never runs into it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from chaos.proxy.http.exchange import Exchange
from chaos.proxy.http.faults.fault import MAX_DELAY_S, HttpFault, Parameter
from chaos.proxy.http.passage import AnswerHead, Body

_SLICES_A_SECOND = 20
_LEAST_PAUSE_S = 0.001
"""A timer fires up to that much late; what is left of one pause is taken from the next."""
_MAX_BYTES_PER_S = 1e9


class SlowBody(HttpFault):
    """The body begins `delay_s` late, or comes at `bytes_per_s`, or both."""

    type = "slow_body"
    parameters = (
        Parameter("delay_s", float, 0.0, 0.0, MAX_DELAY_S),
        Parameter("bytes_per_s", float, None, 1.0, _MAX_BYTES_PER_S),
    )

    @classmethod
    def refuse(cls, attributes: Mapping[str, Any]) -> str | None:
        if attributes["delay_s"] > 0 or attributes["bytes_per_s"] is not None:
            return None
        return "slow_body needs delay_s above 0, or bytes_per_s, or both; neither is given"

    def apply(self, exchange: Exchange) -> None:
        exchange.change_body(lambda head, body: self._slowed(exchange, head, body))

    async def _slowed(self, exchange: Exchange, _: AnswerHead, body: Body) -> AsyncIterator[bytes]:
        delay_s, rate = self.attributes["delay_s"], self.attributes["bytes_per_s"]
        owed_s = 0.0
        async for piece in body:
            if delay_s and not exchange.is_off:
                await exchange.pause(delay_s)
                if rate is None:
                    exchange.strike(size=len(piece))
            delay_s = 0.0
            at = 0
            while rate is not None and at < len(piece) and not exchange.is_off:
                part = piece[at : at + max(1, int(rate / _SLICES_A_SECOND))]
                owed_s += len(part) / rate
                if owed_s >= _LEAST_PAUSE_S:
                    owed_s -= await exchange.pause(owed_s)
                if exchange.has_struck:
                    exchange.strike(size=len(part))
                yield part
                at += len(part)
            if at < len(piece):
                yield piece[at:]
