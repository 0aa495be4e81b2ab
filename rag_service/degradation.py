"""The fallback ladder as data: what each kind of answer needs, best first.

A question's answer is the first rung whose needs are met. Losing something never jumps to code that
runs only then: the lower rungs are the healthy path with a leg missing, or an answer that the healthy path
made before. Every answer below `full` names what it lost, why, and what stood in for it (design §4), because
an undeclared degradation is worse than an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from rag_service.errors import RagError


class Outcome(StrEnum):
    """How an answer ended, as the service claims it."""

    FULL = "full"
    DEGRADED = "degraded"
    CACHED = "cached"
    REFUSED = "refused"
    ERROR = "error"


class Need(StrEnum):
    """Something an answer can stand on. All but the kept answers are there until they are lost."""

    ROOM = "room"
    VECTOR = "vector"
    LEXICAL = "lexical"
    DOCUMENTS = "documents"
    LLM = "llm"
    SAME_QUESTION = "same_question"
    ALIKE_QUESTION = "alike_question"


#: There only where a look into the cache has found one.
KEPT: frozenset[Need] = frozenset({Need.SAME_QUESTION, Need.ALIKE_QUESTION})


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
    _rung("full", Outcome.FULL, Need.ROOM, Need.VECTOR, Need.LEXICAL, Need.DOCUMENTS, Need.LLM),
    _rung("brief", Outcome.DEGRADED, Need.VECTOR, Need.LEXICAL, Need.DOCUMENTS, Need.LLM),
    _rung("lexical", Outcome.DEGRADED, Need.LEXICAL, Need.DOCUMENTS, Need.LLM),
    _rung("exact_cache", Outcome.CACHED, Need.SAME_QUESTION),
    _rung("semantic_cache", Outcome.CACHED, Need.ALIKE_QUESTION),
    _rung("extractive", Outcome.DEGRADED, Need.DOCUMENTS),
    _rung("nothing_found", Outcome.DEGRADED, Need.VECTOR, Need.LEXICAL),
    _rung("refusal", Outcome.REFUSED),
)

#: The rungs that a cache makes, and which cache that is.
CACHE_HITS: dict[str, str] = {"exact_cache": "exact", "semantic_cache": "semantic"}

REFUSAL = LADDER[-1]

#: What stands in for a lost need, as long as no kept answer stands in for them all.
FALLBACKS: dict[Need, str] = {
    Need.ROOM: "brief",
    Need.VECTOR: "lexical",
    Need.DOCUMENTS: "nothing_found",
    Need.LLM: "extractive",
}


def lose(need: Need, segment: str, reason: str) -> Loss:
    """The loss of `need`."""
    return Loss(need, segment, reason, FALLBACKS[need])


def lose_to(error: RagError, need: Need, segment: str) -> Loss:
    """The loss of `need` through `error`."""
    return lose(need, segment, error.reason)


def choose(
    losses: Iterable[Loss], kept: frozenset[Need] = frozenset(), ladder: tuple[Rung, ...] = LADDER
) -> Rung:
    """The best rung that needs nothing of what was lost, nor a kept answer other than those in `kept`."""
    missing = frozenset(loss.need for loss in losses) | (KEPT - kept)
    return next(rung for rung in ladder if not rung.needs & missing)


def rung_of(need: Need) -> Rung:
    """The rung that a kept answer makes."""
    return next(rung for rung in LADDER if need in rung.needs)


def labels(losses: Iterable[Loss], rung: Rung) -> tuple[Loss, ...]:
    """The losses as an answer on `rung` declares them: a kept answer stands in for all of them at once."""
    if rung.outcome is Outcome.CACHED:
        return tuple(replace(loss, fallback=rung.name) for loss in losses)
    return tuple(losses)
