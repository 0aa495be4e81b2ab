"""An answer that the engine gave up, dressed as a success (vLLM's issue 57082).

HTTP 200, `finish_reason: "abort"`, then `[DONE]`: whoever takes `[DONE]` for success serves half an answer as
a whole one.
"""

from __future__ import annotations

from typing import Literal

from rag_service.model_server.faults.fault import AfterTokens, EndAnswer, Ending, Wire, register


@register
class Abort(AfterTokens):
    """The answer ends early with `finish_reason: "abort"` and `[DONE]`."""

    kind: Literal["abort"]

    async def act(self, wire: Wire) -> None:  # noqa: ARG002
        raise EndAnswer(Ending.ABORTED)
