"""The service's own dialect: `POST /v1/answers` (design §4)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rag_service.api.face import Refusal, Told
from rag_service.api.schema import Criticality, parse_body
from rag_service.api.sse import Events, Frames


@dataclass(frozen=True, slots=True)
class NativeExchange:
    """One question, answered as `{answer, outcome, …}` or as `meta`, `token`…, `done`."""

    question: str
    top_k: int
    stream: bool
    criticality: Criticality

    def whole(self, told: Told, text: str) -> dict[str, Any]:
        ending = {
            "finish_reason": told.answer.tokens.finish_reason,
            "timings_ms": told.answer.timings.total(),
        }
        return {"answer": text} | told.head() | ending

    def frames(self, told: Told) -> Frames:
        def done() -> dict[str, Any]:
            return told.tail() | {"finish_reason": told.answer.tokens.finish_reason}

        return Events(told.head(), done)


class NativeFace:
    """Reads and refuses in the service's own form."""

    def parse(self, body: bytes) -> NativeExchange:
        asked = parse_body(body)
        return NativeExchange(asked.question, asked.top_k, asked.stream, asked.criticality)

    def refusal(self, refusal: Refusal) -> dict[str, Any]:
        error: dict[str, Any] = {"code": refusal.code, "message": refusal.message}
        if refusal.wrong is not None:
            error["fields"] = [asdict(mistake) for mistake in refusal.wrong.mistakes]
        return {"error": error} | refusal.ending()
