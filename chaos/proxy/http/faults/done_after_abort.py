"""done_after_abort: an answer that the engine gave up, dressed as a success (vLLM's issue 57082).

HTTP 200, `finish_reason: "abort"`, then `[DONE]`: whoever takes `[DONE]` for success serves half an answer as
a whole one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from chaos.proxy.http.exchange import Exchange
from chaos.proxy.http.faults.fault import Parameter
from chaos.proxy.http.faults.stream import AFTER_TOKENS, AfterTokens, EndAnswer
from chaos.proxy.http.json_body import written
from chaos.proxy.http.sse import SseEvent

_DONE = b"data: [DONE]\n\n"


class DoneAfterAbort(AfterTokens):
    """The answer ends early with `finish_reason` (none at all when it is empty) and `[DONE]`."""

    type = "done_after_abort"
    parameters = (AFTER_TOKENS, Parameter("finish_reason", str, "abort", most=64))

    async def act(self, exchange: Exchange, last: SseEvent | None) -> AsyncIterator[bytes]:
        exchange.strike(f"[DONE] after {self.attributes['after_tokens']} tokens")
        reason = self.attributes["finish_reason"]
        if reason:
            yield _finish(last, reason)
        yield _DONE
        raise EndAnswer


def _finish(last: SseEvent | None, reason: str) -> bytes:
    """An event like the last one, with an empty choice that ends the answer."""
    value = (last.json() if last is not None else None) or {"object": "chat.completion.chunk"}
    empty: dict[str, Any] = {"text": ""} if value.get("object") == "text_completion" else {"delta": {}}
    choice = {"index": 0, **empty, "finish_reason": reason}
    return b"data: %s\n\n" % written({**value, "choices": [choice]})
