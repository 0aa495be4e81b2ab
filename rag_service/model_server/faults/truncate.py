"""A body that ends well, an answer that does not: some proxies close a stream cleanly at their own limit."""

from __future__ import annotations

from typing import Literal

from rag_service.model_server.faults.fault import AfterTokens, EndAnswer, Ending, Wire, register


@register
class Truncate(AfterTokens):
    """The body ends as HTTP wants it, without a finish reason and without `[DONE]`."""

    kind: Literal["truncate"]

    async def act(self, wire: Wire) -> None:  # noqa: ARG002
        raise EndAnswer(Ending.TRUNCATED)
