"""The calls around one circuit breaker, as spans tell them: those it let through, and those it turned away.

A service that makes a span of each guarded call (`breakers` in the segment table) says of each what state it
met. What started without such a span, because the service makes none or because the call went around the
breaker, is known by the segment's own spans.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slo.evidence import Evidence, Floats
from slo.segments import Where
from slo.transitions import HALF_OPEN, Stretch, stretches

PROBE_LOG_S = 0.005
"""A probe may start this much before the log record that says half-open: it is the probe that makes it so."""
SETTLED_S = 0.001
"""A call is over this much before its span ends, which is stamped a moment after what it tells of."""
REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls in order of their start."""

    at_s: Floats
    end_s: Floats
    trace_ids: npt.NDArray[np.object_]
    span_ids: npt.NDArray[np.object_]

    def within(self, one: Stretch) -> Calls:
        """Those that began in a half-open stretch."""
        first, last = np.searchsorted(self.at_s, [one.start_s - PROBE_LOG_S, one.end_s])
        part = slice(int(first), int(last))
        return Calls(self.at_s[part], self.end_s[part], self.trace_ids[part], self.span_ids[part])

    def company(self) -> npt.NDArray[np.int64]:
        """For each call, how many of these were under way as it began."""
        took_s = self.end_s - self.at_s
        over_s = self.at_s + np.maximum(took_s - np.minimum(SETTLED_S, took_s / 2), 1e-9)
        ended = np.searchsorted(np.sort(over_s), self.at_s, side="right")
        return np.arange(len(self.at_s)) - ended


@dataclass(frozen=True, slots=True)
class Probes:
    """What happened while a breaker was half open: its probes, and the callers it turned away."""

    stretches: tuple[Stretch, ...]
    made: tuple[Calls, ...]
    """For each stretch the probes that began in it."""
    rejected: int

    @property
    def count(self) -> int:
        """All probes."""
        return sum(len(calls.at_s) for calls in self.made)

    @property
    def most(self) -> int:
        """How many were under way at a time, at most."""
        return max((int(calls.company().max(initial=-1)) + 1 for calls in self.made), default=0)

    def beyond(self, allowed: int) -> list[tuple[str, str]]:
        """Trace and span of each probe that began while as many as allowed were under way."""
        found: list[tuple[str, str]] = []
        for calls in self.made:
            places = np.flatnonzero(calls.company() >= allowed)
            found += [(str(calls.trace_ids[place]), str(calls.span_ids[place])) for place in places]
        return found


def probes_of(evidence: Evidence, breaker: str, segment: str) -> Probes:
    """The probes of a breaker."""
    half_open = tuple(
        one for one in stretches(evidence.transitions.get(breaker, ())) if one.state == HALF_OPEN
    )
    calls = _calls(evidence, breaker, segment) if half_open else None
    made = tuple(calls.within(one) for one in half_open) if calls else ()
    return Probes(half_open, made, _rejected(evidence, breaker))


def _calls(evidence: Evidence, breaker: str, segment: str) -> Calls:
    """Guarded calls that met the half-open state (or do not say which), and calls that nothing guarded."""
    guard, which = _guard(evidence, breaker), evidence.table.segments[segment].where()
    rows = evidence.traces.opened.sql.execute(
        f"""
        WITH guard AS (
            SELECT *, SpanAttributes['resilience.circuit_breaker.outcome'] AS outcome,
                   SpanAttributes['resilience.circuit_breaker.state'] AS state
            FROM spans WHERE {guard.sql}
        )
        SELECT epoch_ns(Timestamp) AS at_ns, epoch_ns(Timestamp) + Duration AS end_ns, TraceId, SpanId FROM (
            SELECT Timestamp, Duration, TraceId, SpanId FROM guard
            WHERE outcome IS DISTINCT FROM ? AND coalesce(state, ?) = ?
            UNION ALL
            SELECT call.Timestamp, call.Duration, call.TraceId, call.SpanId
            FROM (SELECT * FROM spans WHERE {which.sql}) AS call
            ANTI JOIN guard ON call.TraceId = guard.TraceId AND call.ParentSpanId = guard.SpanId
        ) ORDER BY at_ns, TraceId, SpanId
        """,
        [*guard.parameters, REJECTED, HALF_OPEN, HALF_OPEN, *which.parameters],
    ).fetchnumpy()
    t0_s = evidence.traces.t0_s
    return Calls(
        at_s=np.asarray(rows["at_ns"], dtype=np.int64) / 1e9 - t0_s,
        end_s=np.asarray(rows["end_ns"], dtype=np.int64) / 1e9 - t0_s,
        trace_ids=np.asarray(rows["TraceId"], dtype=object),
        span_ids=np.asarray(rows["SpanId"], dtype=object),
    )


def _rejected(evidence: Evidence, breaker: str) -> int:
    guard = _guard(evidence, breaker)
    rows = evidence.traces.rows(
        f"SELECT count(*) FROM spans WHERE {guard.sql}"
        " AND SpanAttributes['resilience.circuit_breaker.outcome'] = ?"
        " AND SpanAttributes['resilience.circuit_breaker.state'] = ?",
        [*guard.parameters, REJECTED, HALF_OPEN],
    )
    return int(rows[0][0])


def turned_away(evidence: Evidence, breaker: str, after_s: float) -> list[str]:
    """The traces of the first callers that a breaker turned away after a moment."""
    guard = _guard(evidence, breaker)
    after_ns = round((after_s + evidence.traces.t0_s) * 1e9)
    rows = evidence.traces.rows(
        f"SELECT TraceId FROM spans WHERE {guard.sql}"
        " AND SpanAttributes['resilience.circuit_breaker.outcome'] = ? AND epoch_ns(Timestamp) >= ?"
        " ORDER BY Timestamp, TraceId LIMIT 100",
        [*guard.parameters, REJECTED, after_ns],
    )
    return [str(trace_id) for (trace_id,) in rows]


def _guard(evidence: Evidence, breaker: str) -> Where:
    """The spans of guarded calls of one breaker."""
    every = evidence.table.breakers.where()
    sql = f"({every.sql}) AND SpanAttributes['resilience.policy.name'] = ?"
    return Where(sql, (*every.parameters, breaker))
