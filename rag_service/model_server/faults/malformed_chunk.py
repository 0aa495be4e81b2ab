"""An event that is no JSON between good ones, as a gateway's bug in re-encoding makes it (LiteLLM 40404)."""

from __future__ import annotations

from typing import Literal

from rag_service.model_server.faults.fault import AfterTokens, Wire, register

_BROKEN = b'data: {"id": "chatcmpl-0", "choices": [{"index": 0, "delta": {"cont\n\n'


@register
class MalformedChunk(AfterTokens):
    """One broken event; the tokens after it are good again."""

    kind: Literal["malformed_chunk"]

    async def act(self, wire: Wire) -> None:
        await wire.write(_BROKEN)
