"""cut: a connection that breaks in mid-answer, as when a replica is killed or a balancer loses its target."""

from __future__ import annotations

from collections.abc import AsyncIterator

from chaos.proxy.http.exchange import Exchange
from chaos.proxy.http.faults.fault import Parameter
from chaos.proxy.http.faults.stream import AFTER_TOKENS, AfterTokens
from chaos.proxy.http.passage import CutError
from chaos.proxy.http.sse import SseEvent


class Cut(AfterTokens):
    """The connection is closed, or reset, without the end of the body."""

    type = "cut"
    parameters = (AFTER_TOKENS, Parameter("how", str, "close", choices=("close", "reset")))

    async def act(self, exchange: Exchange, last: SseEvent | None) -> AsyncIterator[bytes]:  # noqa: ARG002
        how = self.attributes["how"]
        exchange.strike(f"{how} after {self.attributes['after_tokens']} tokens")
        raise CutError(with_reset=how == "reset")
        yield b""  # what makes this a generator
