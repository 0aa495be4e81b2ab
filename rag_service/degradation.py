"""The fallback ladder as data: what each kind of answer needs, best first.

A question's answer is the first rung whose needs are still met. Losing something never jumps to code that
runs only then: the lower rungs are the healthy path with a leg missing. Every answer below `full` names what
it lost, why, and what stood in for it (design §4), because an undeclared degradation is worse than an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from rag_service.errors import RagError


class Outcome(StrEnum):
    """How an answer ended, as the service claims it."""

    FULL = "full"
    DEGRADED = "degraded"
    REFUSED = "refused"
    ERROR = "error"


class Need(StrEnum):
    """Something an answer can stand on."""

    VECTOR = "vector"
    LEXICAL = "lexical"
    DOCUMENTS = "documents"
    LLM = "llm"


@dataclass(frozen=True, slots=True)
class Loss:
    """A need that is gone: in which segment, why, and what stands in for it."""

    need: Need
    segment: str
    reason: str
    fallback: str


@dataclass(frozen=True, slots=True)
class Rung:
    """One kind of answer."""

    name: str
    outcome: Outcome
    needs: frozenset[Need]


def _rung(name: str, outcome: Outcome, *needs: Need) -> Rung:
    return Rung(name, outcome, frozenset(needs))


LADDER: tuple[Rung, ...] = (
    _rung("full", Outcome.FULL, Need.VECTOR, Need.LEXICAL, Need.DOCUMENTS, Need.LLM),
    _rung("lexical", Outcome.DEGRADED, Need.LEXICAL, Need.DOCUMENTS, Need.LLM),
    _rung("extractive", Outcome.DEGRADED, Need.DOCUMENTS),
    _rung("nothing_found", Outcome.DEGRADED, Need.VECTOR, Need.LEXICAL),
    _rung("refusal", Outcome.REFUSED),
)

#: What stands in for a lost need.
FALLBACKS: dict[Need, str] = {
    Need.VECTOR: "lexical",
    Need.DOCUMENTS: "nothing_found",
    Need.LLM: "extractive",
}


def lose(need: Need, segment: str, error: RagError) -> Loss:
    """The loss of `need` through `error`."""
    return Loss(need, segment, error.reason, FALLBACKS[need])


def nothing_found() -> Loss:
    """Both legs were asked in vain: a loss too, or an answer from nothing would look whole."""
    return Loss(Need.DOCUMENTS, "retrieve", "no_documents", FALLBACKS[Need.DOCUMENTS])


def choose(losses: Iterable[Loss], ladder: tuple[Rung, ...] = LADDER) -> Rung:
    """The best rung that needs nothing of what was lost."""
    lost = frozenset(loss.need for loss in losses)
    return next(rung for rung in ladder if not rung.needs & lost)
