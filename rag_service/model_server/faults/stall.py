"""A server that falls silent in mid-answer while its connection lives on (LiteLLM's issue 40404).

With `ping_s` it goes on sending SSE comments, as gateways do to keep connections open: a client that times
bytes rather than tokens then waits for ever.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from rag_service.model_server.faults.fault import AfterTokens, Delay, Wire, register

_PING = b": ping\n\n"


@register
class Stall(AfterTokens):
    """No further token, until the client hangs up."""

    kind: Literal["stall"]
    ping_s: Delay | None = None

    async def act(self, wire: Wire) -> None:
        while self.ping_s is not None:
            await asyncio.sleep(self.ping_s)
            await wire.write(_PING)
        await asyncio.Event().wait()
