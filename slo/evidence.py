"""Everything that a bundle can say about a run, read once, in the form that rules and indicators want.

Times are offsets from t0. Spans belong to the phase in which they start, attempts to the phase of their
intended start; the phase label in the baggage is never needed for that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from slo.answers import Answer, read_answers
from slo.attempts import Attempts, read_attempts
from slo.bundle import Bundle, read_json, read_json_lines, read_yaml
from slo.plan import Plan, PlannedPhase, read_plan
from slo.segments import JOURNEY, SegmentTable
from slo.traces import BEFORE_S, Traces
from slo.transitions import Transition, read_transitions

if TYPE_CHECKING:
    from slo.store import Store

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SegmentSpans:
    """The spans of one segment in order of their start, column by column."""

    at_s: Floats
    duration_s: Floats
    failed: npt.NDArray[np.bool_]
    trace_ids: npt.NDArray[np.object_]
    span_ids: npt.NDArray[np.object_]
    error_types: npt.NDArray[np.object_]

    def between(self, start_s: float, end_s: float) -> SegmentSpans:
        """Those that started in a window."""
        first, last = np.searchsorted(self.at_s, [start_s, end_s])
        part = slice(int(first), int(last))
        return SegmentSpans(
            self.at_s[part],
            self.duration_s[part],
            self.failed[part],
            self.trace_ids[part],
            self.span_ids[part],
            self.error_types[part],
        )

    @property
    def judged_s(self) -> Floats:
        """Durations as statistics use them: what failed took for ever."""
        return np.where(self.failed, np.inf, self.duration_s)


@dataclass(frozen=True, slots=True)
class Losses:
    """Counts that say whether the telemetry is whole."""

    spans: int
    torn: dict[str, int]
    unreadable: int
    seq_missing: int
    seq_known: int
    orphans: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """A run's evidence."""

    plan: Plan
    attempts: Attempts
    segments: dict[str, SegmentSpans]
    answers: tuple[Answer, ...]
    transitions: dict[str, tuple[Transition, ...]]
    generator_cpu: tuple[float, ...]
    generator_seen_s: float | None
    """When its CPU time was last read."""
    losses: Losses
    experiment: Mapping[str, Any]
    stack: Mapping[str, Any]
    table: SegmentTable
    traces: Traces

    def spans(self, segment: str, phase: PlannedPhase) -> SegmentSpans:
        """The spans of a segment that started in a phase; for `journey` the attempts stand as spans."""
        return self.segments[segment].between(phase.start_s, phase.end_s)


def read_evidence(path: Bundle, table: SegmentTable) -> Evidence:
    """Read a bundle. Nothing is written, and nothing but the bundle is read."""
    from slo.store import connect  # the libraries behind it are for those who read a bundle

    plan = read_plan(read_json_lines(path.journal))
    attempts = read_attempts(read_json_lines(path.attempts), plan.t0_s)
    opened = connect(path)
    t0_s = plan.t0_s or 0.0
    until_s = math.inf if plan.load_ended_s is None else plan.load_ended_s
    segments = {
        name: _spans(opened, table, name, t0_s).between(-math.inf, until_s) for name in table.segments
    }
    cpu = opened.sql.execute(
        "SELECT cpu_ratio, at_s FROM resources WHERE part = 'journeys' AND cpu_ratio IS NOT NULL"
        " AND at_s >= ? ORDER BY at_s",
        [t0_s],
    ).fetchall()
    return Evidence(
        plan=plan,
        attempts=attempts,
        segments={JOURNEY: _journeys(attempts), **segments},
        answers=tuple(
            one for one in read_answers(opened, table, t0_s, attempts) if -BEFORE_S <= one.at_s <= until_s
        ),
        transitions=_with_load(read_transitions(opened, t0_s), until_s),
        generator_cpu=tuple(float(value) for value, _ in cpu),
        generator_seen_s=float(cpu[-1][1]) - t0_s if cpu else None,
        losses=_losses(opened, plan, attempts.torn),
        experiment=read_yaml(path.experiment),
        stack=read_json(path.stack),
        table=table,
        traces=Traces.of_users(opened, table, plan, attempts, t0_s),  # the last to read
    )


def _with_load(
    transitions: dict[str, tuple[Transition, ...]], until_s: float
) -> dict[str, tuple[Transition, ...]]:
    """Those that users brought about: the questions after a run may close a breaker, and prove nothing."""
    return {name: tuple(one for one in own if one.at_s <= until_s) for name, own in transitions.items()}


def _spans(opened: Store, table: SegmentTable, name: str, t0_s: float) -> SegmentSpans:
    which, failure = table.segments[name].where(), table.segments[name].failure()
    columns = opened.sql.execute(
        f"SELECT epoch_ns(Timestamp) AS at_ns, Duration, {failure.sql} AS failed, TraceId, SpanId,"
        f" coalesce(SpanAttributes['error.type'], '') AS error_type"
        f" FROM spans WHERE {which.sql} ORDER BY at_ns, TraceId, SpanId",
        [*failure.parameters, *which.parameters],
    ).fetchnumpy()
    return SegmentSpans(
        at_s=_filled(columns["at_ns"]) / 1e9 - t0_s,
        duration_s=_filled(columns["Duration"]) / 1e9,
        failed=_filled(columns["failed"]).astype(np.bool_),
        trace_ids=np.asarray(columns["TraceId"], dtype=object),
        span_ids=np.asarray(columns["SpanId"], dtype=object),
        error_types=np.asarray(columns["error_type"], dtype=object),
    )


def _journeys(attempts: Attempts) -> SegmentSpans:
    found: Sequence[Any] = attempts.all
    return SegmentSpans(
        at_s=np.array([one.at_s for one in found], dtype=np.float64),
        duration_s=np.array([np.inf if one.latency_s is None else one.latency_s for one in found], float),
        failed=np.array([not one.answered for one in found], dtype=np.bool_),
        trace_ids=np.array([one.trace_id for one in found], dtype=object),
        span_ids=np.array([one.span_id for one in found], dtype=object),
        error_types=np.array([one.outcome for one in found], dtype=object),
    )


def _losses(opened: Store, plan: Plan, attempts_torn: int) -> Losses:
    sql = opened.sql
    sequences = sql.execute(
        """
        SELECT ResourceAttributes['service.instance.id'] AS instance, min(seq), max(seq), count(DISTINCT seq)
        FROM (SELECT *, TRY_CAST(SpanAttributes['rag.span.seq'] AS BIGINT) AS seq FROM spans)
        WHERE seq IS NOT NULL GROUP BY instance ORDER BY instance
        """
    ).fetchall()
    missing = sum(high - low + 1 - distinct for _, low, high, distinct in sequences)
    if len(sequences) == 1 and plan.last_seq is not None:
        missing += max(0, plan.last_seq - sequences[0][2])
    orphans = sql.execute(
        "SELECT count(*) FROM spans AS child ANTI JOIN spans AS parent"
        " ON child.TraceId = parent.TraceId AND child.ParentSpanId = parent.SpanId"
        " WHERE child.ParentSpanId <> '' AND child.SpanKind <> 'Server'"
    ).fetchall()[0][0]
    readings = opened.readings
    return Losses(
        spans=readings["spans"].rows,
        torn={
            "journal": plan.torn,
            "attempts": attempts_torn,
            "spans": readings["spans"].torn,
            "logs": readings["logs"].torn,
            "resources": readings["resources"].torn,
        },
        unreadable=readings["spans"].unreadable + readings["logs"].unreadable,
        seq_missing=int(missing),
        seq_known=int(sum(distinct for *_, distinct in sequences)),
        orphans=int(orphans),
    )


def _filled(column: Any) -> Any:
    return column.filled(0) if isinstance(column, np.ma.MaskedArray) else np.asarray(column)
