"""Circuit breakers as the service's own log records tell their story.

Transitions are log records `resilience.circuit_breaker.state_change`; span events of that name, the
older way, are read too. `seq` orders transitions that share a timestamp.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slo.store import Store

EVENT = "resilience.circuit_breaker.state_change"
CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"


@dataclass(frozen=True, slots=True)
class Transition:
    """A breaker went from one state to another, at an offset from t0."""

    at_s: float
    previous: str
    new: str
    cause: str | None


@dataclass(frozen=True, slots=True)
class Stretch:
    """A breaker was in `state` from `start_s` until `end_s` (infinite when it never left it)."""

    state: str
    start_s: float
    end_s: float


def read_transitions(opened: Store, t0_s: float) -> dict[str, tuple[Transition, ...]]:
    """The transitions of every breaker, in order."""
    rows = opened.sql.execute(
        """
        SELECT DISTINCT a['resilience.policy.name'] AS breaker, at_ns, TRY_CAST(a['seq'] AS BIGINT) AS seq,
               a['previous'], a['new'], a['cause']
        FROM (
            SELECT epoch_ns(Timestamp) AS at_ns, LogAttributes AS a FROM logs
            WHERE EventName = $event OR Body = $event OR LogAttributes['event.name'] = $event
            UNION ALL
            SELECT epoch_ns(event.Timestamp), event.Attributes
            FROM (SELECT unnest(Events) AS event FROM spans WHERE len(Events) > 0)
            WHERE event.Name = $event
        ) WHERE a['resilience.policy.name'] IS NOT NULL
        ORDER BY breaker, at_ns, seq, a['previous'], a['new'], a['cause']
        """,
        {"event": EVENT},
    ).fetchall()
    found: dict[str, list[Transition]] = {}
    for breaker, at_ns, _, previous, new, cause in rows:
        transition = Transition(at_ns / 1e9 - t0_s, _state(previous), _state(new), cause or None)
        found.setdefault(breaker, []).append(transition)
    return {breaker: tuple(transitions) for breaker, transitions in found.items()}


def stretches(transitions: tuple[Transition, ...]) -> tuple[Stretch, ...]:
    """The states between transitions, from the beginning of time to its end."""
    if not transitions:
        return (Stretch(CLOSED, -math.inf, math.inf),)
    found = [Stretch(transitions[0].previous or CLOSED, -math.inf, transitions[0].at_s)]
    ends = [*(later.at_s for later in transitions[1:]), math.inf]
    found += [Stretch(one.new, one.at_s, end) for one, end in zip(transitions, ends, strict=True)]
    return tuple(found)


def _state(text: str | None) -> str:
    return (text or "").lower().replace("-", "_")
