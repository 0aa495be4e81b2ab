"""What the two ways to ask have in common, and what each spells in its own words.

`answers.py` decides (admit, answer, refuse); a face only translates: `native.py` for `POST /v1/answers`,
`openai.py` for `POST /v1/chat/completions`. So both have the same limits, outcomes and spans.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from rag_service.api.schema import BadRequest, Criticality
from rag_service.api.sse import Frames
from rag_service.degradation import Outcome
from rag_service.pipeline import Answer


@dataclass(frozen=True, slots=True)
class Told:
    """What an answer says about itself at its commit point."""

    answer: Answer
    trace_id: str

    def degraded(self) -> list[dict[str, str]]:
        return [
            {"segment": loss.segment, "reason": loss.reason, "fallback": loss.fallback}
            for loss in self.answer.losses
        ]

    def head(self) -> dict[str, Any]:
        """What is known before the text."""
        citations = [
            {"id": passage.id, "score": round(passage.score, 6), "title": passage.title}
            for passage in self.answer.passages
        ]
        return {
            "outcome": self.answer.outcome,
            "rung": self.answer.rung.name,
            "degraded": self.degraded(),
            "citations": citations,
            "trace_id": self.trace_id,
        }

    def tail(self) -> dict[str, Any]:
        """What is known after it."""
        return {
            "outcome": self.answer.outcome,
            "rung": self.answer.rung.name,
            "degraded": self.degraded(),
            "timings_ms": self.answer.timings.total(),
        }


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no answer; `wrong` is the caller's mistake, where it was one."""

    status: int
    code: str
    message: str
    outcome: Outcome
    trace_id: str
    wrong: BadRequest | None = None

    def ending(self) -> dict[str, Any]:
        return {"outcome": self.outcome, "degraded": [], "trace_id": self.trace_id}


class Exchange(Protocol):
    """One request in its dialect: what is asked, and how its answer is spelt."""

    @property
    def question(self) -> str: ...
    @property
    def top_k(self) -> int: ...
    @property
    def stream(self) -> bool: ...
    @property
    def criticality(self) -> Criticality: ...
    def whole(self, told: Told, text: str) -> dict[str, Any]: ...
    def frames(self, told: Told) -> Frames: ...


class Face(Protocol):
    """A dialect."""

    def parse(self, body: bytes) -> Exchange:
        """Raises BadRequest."""
        ...

    def refusal(self, refusal: Refusal) -> dict[str, Any]: ...
