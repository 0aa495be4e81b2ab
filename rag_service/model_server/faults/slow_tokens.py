"""A server with too many sequences in its batch: every token after the first comes late."""

from __future__ import annotations

import asyncio
from typing import Literal

from rag_service.model_server.faults.fault import Delay, Fault, Wire, register


@register
class SlowTokens(Fault):
    """Each token but the first comes `delay_s` later than its predecessor would allow."""

    kind: Literal["slow_tokens"]
    delay_s: Delay

    async def before_token(self, position: int, wire: Wire) -> None:  # noqa: ARG002
        if position > 0:
            await asyncio.sleep(self.delay_s)
