"""What each answer lost on its way, and whether it said so.

An answer that lost its retrieval leg or its model and calls itself `full` is worse than an error, and
no status code shows it. So the loss is read from the spans below the request, where it cannot be
dressed up, and the claim from both ends: the request span and what the client saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slo.attempts import Attempts
from slo.segments import SegmentTable

if TYPE_CHECKING:
    from slo.store import Store

FULL = "full"
EXPECTED_LEGS = ("vector", "lexical")


@dataclass(frozen=True, slots=True)
class Answer:
    """One request span with what its trace lost. `seen` is the client's outcome, None when it is unknown."""

    trace_id: str
    at_s: float
    claimed: str | None
    seen: str | None
    lost: tuple[str, ...]

    @property
    def undeclared(self) -> bool:
        """Something was lost, yet the client (or, where it is unknown, the service) took it for full.

        An answer that broke off, or that nobody waited for, passes for nothing and is counted elsewhere.
        """
        return bool(self.lost) and (self.seen or self.claimed) == FULL

    @property
    def degraded(self) -> bool:
        """Something was lost, whatever was said."""
        return bool(self.lost)


def read_answers(opened: Store, table: SegmentTable, t0_s: float, attempts: Attempts) -> tuple[Answer, ...]:
    """Every request that gave an answer, or claimed to, in order of its start."""
    if not {"request", "retrieve", "generate", "context"} <= set(table.segments):
        return ()
    parameters: list[str | float] = []

    def rows(name: str, columns: str) -> str:
        which = table.segments[name].where()
        parameters.extend(which.parameters)
        return f"SELECT {columns} FROM spans WHERE {which.sql}"

    query = f"""
        WITH request AS ({rows("request", "TraceId, epoch_ns(Timestamp) AS at_ns, SpanAttributes AS a")}),
        retrieve AS ({
        rows(
            "retrieve",
            "TraceId, SpanAttributes['rag.retrieval.legs'] AS legs,"
            " SpanAttributes['rag.retrieval.document.ids'] AS ids",
        )
    }),
        generate AS ({rows("generate", "TraceId, StatusCode <> 'Error' AS good")})
        SELECT request.TraceId, min(at_ns), arg_min(a['rag.outcome'], at_ns),
               arg_min(TRY_CAST(a['rag.context.document.count'] AS BIGINT), at_ns),
               max(legs), max(ids), coalesce(bool_or(good), FALSE), count(retrieve.TraceId) > 0
        FROM request LEFT JOIN retrieve USING (TraceId) LEFT JOIN generate USING (TraceId)
        GROUP BY request.TraceId ORDER BY 2, 1
    """
    seen = {attempt.trace_id: attempt for attempt in attempts.all if attempt.trace_id}
    found = []
    for trace_id, at_ns, claimed, documents, legs, ids, generated, retrieved in opened.sql.execute(
        query, parameters
    ).fetchall():
        attempt = seen.get(trace_id)
        outcome = attempt.outcome if attempt is not None else None
        lost = _lost(claimed, documents, legs, ids, generated, retrieved)
        if attempt is not None and outcome == FULL and attempt.citations == () and not lost:
            lost = ("citations",)
        found.append(Answer(trace_id, at_ns / 1e9 - t0_s, claimed, outcome, lost))
    return tuple(found)


def _lost(
    claimed: str | None,
    documents: int | None,
    legs: str | None,
    ids: str | None,
    generated: bool,
    retrieved: bool,
) -> tuple[str, ...]:
    if claimed in ("refused", "error"):
        return ()  # no answer was given
    if claimed == "cached" and not retrieved:
        return ()  # nothing was asked, so nothing was lost
    lost = []
    if not retrieved:
        lost.append("retrieval")
    elif legs is not None:
        lost += [leg for leg in EXPECTED_LEGS if f'"{leg}"' not in legs]
    if documents == 0 or ids == "[]":
        lost.append("documents")
    if not generated:
        lost.append("llm")
    return tuple(lost)
