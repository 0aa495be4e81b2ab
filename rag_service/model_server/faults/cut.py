"""A connection that breaks in mid-answer, as when a replica is killed or a load balancer loses its target."""

from __future__ import annotations

from typing import Literal

from rag_service.model_server.faults.fault import AfterTokens, EndAnswer, Ending, Wire, register


@register
class Cut(AfterTokens):
    """The connection closes without the end of the body."""

    kind: Literal["cut"]

    async def act(self, wire: Wire) -> None:  # noqa: ARG002
        raise EndAnswer(Ending.CUT)
