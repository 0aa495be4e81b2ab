"""A server whose prompts queue up or whose cache went cold: the first token comes late, the rest in time."""

from __future__ import annotations

import asyncio
from typing import Literal

from rag_service.model_server.faults.fault import Delay, Fault, Wire, register


@register
class SlowFirstToken(Fault):
    """The first token comes `delay_s` later."""

    kind: Literal["slow_first_token"]
    delay_s: Delay

    async def before_token(self, position: int, wire: Wire) -> None:  # noqa: ARG002
        if position == 0:
            await asyncio.sleep(self.delay_s)
