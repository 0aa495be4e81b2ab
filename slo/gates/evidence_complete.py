"""Is the evidence whole: does every answer have its trace, and does no sequence have a gap?

Telemetry breaks first in a spike: a default span processor lost half of a burst with one warning in the
reference measurements. Six independent signs are read (answers without a request span, gaps in
`rag.span.seq`, what the service says it lost, spans without their parent, arrivals without a line, answers
whose request began outside the time in which their user waited: two clocks), and each may lose 0.1 %. A
record that was cut off means that its writer died, and nobody knows what went with it: never complete.
"""

from __future__ import annotations

from typing import Any

from slo.attempts import Attempt
from slo.evidence import Evidence
from slo.units import format_ratio
from slo.verdict import Gate

ALLOWED_RATIO = 0.001
CLOCKS_S = 1.0
"""Spans are cut into phases by the service's clock, faults and attempts by the runner's."""
_CUT_SHORT = ("truncated", "abandoned", "timeout")


def check(evidence: Evidence) -> Gate:
    """Pass when at most 0.1 % is missing by any sign, and nothing was cut off."""
    facts: dict[str, Any] = {"spans": evidence.losses.spans, "torn": evidence.losses.torn}
    problems = _cut(evidence)
    for name, missing, total, meaning in _signs(evidence):
        facts[name] = {"missing": missing, "of": total}
        if missing and missing > ALLOWED_RATIO * total:
            share = f"{format_ratio(missing / total)}, allowed is {format_ratio(ALLOWED_RATIO)}"
            problems.append(f"{missing} of {total} {meaning} ({share})")
    if not evidence.losses.spans:
        problems.append("no spans were received; does the service export to OTEL_EXPORTER_OTLP_ENDPOINT?")
    if evidence.plan.unhanded:
        problems.append(f"the service did not hand over its last spans ({evidence.plan.unhanded})")
    if not evidence.attempts.all:
        problems.append("no attempts were recorded")
    if problems:
        advice = "Give the service's span processor a longer queue, and do not kill parts while they write."
        return Gate(
            name="evidence", verdict="inconclusive", message=f"{'; '.join(problems)}. {advice}", facts=facts
        )
    joined = facts["answers"]["of"] - facts["answers"]["missing"]
    return Gate(
        name="evidence",
        verdict="pass",
        message=f"{joined} answers join their traces, {evidence.losses.spans} spans, no gap that matters",
        facts=facts,
    )


def _cut(evidence: Evidence) -> list[str]:
    problems = [
        f"{torn} record{'s' if torn > 1 else ''} of {name} cut off or unreadable"
        for name, torn in evidence.losses.torn.items()
        if torn
    ]
    if evidence.losses.unreadable:
        problems.append(f"{evidence.losses.unreadable} received bodies cannot be understood")
    return problems


def _signs(evidence: Evidence) -> list[tuple[str, int, int, str]]:
    losses = evidence.losses
    requests = evidence.segments.get("request")
    traces = dict(zip(requests.trace_ids, requests.at_s, strict=True)) if requests is not None else {}
    answered = [
        one
        for one in evidence.attempts.all
        if one.status is not None and not one.dropped and one.outcome not in _CUT_SHORT
    ]
    unjoined = sum(one.trace_id not in traces for one in answered)
    joined = [one for one in answered if one.trace_id in traces and one.latency_s is not None]
    elsewhen = sum(_is_elsewhen(one, float(traces[one.trace_id])) for one in joined)
    seen = {one.arrival for one in evidence.attempts.all if one.arrival is not None}
    planned = sum(phase.arrivals or 0 for phase in evidence.plan.phases)
    whole = bool(evidence.plan.phases) and all(phase.complete for phase in evidence.plan.phases)
    lost = evidence.plan.lost or 0
    return [
        ("answers", unjoined, len(answered), "answers have no request span"),
        ("sequence", losses.seq_missing, losses.seq_known + losses.seq_missing, "request spans are missing"),
        ("lost", lost, losses.spans + lost, "spans were lost by the service itself, as it says"),
        ("orphans", losses.orphans, losses.spans, "spans have lost their parent"),
        ("arrivals", max(0, planned - len(seen)) if whole else 0, planned, "planned arrivals left no line"),
        (
            "clocks",
            elsewhen,
            len(joined),
            "answers began before their question, or after their end",
        ),
    ]


def _is_elsewhen(one: Attempt, began_s: float) -> bool:
    """By more than clocks of one machine can be apart."""
    start_s, end_s = one.at_s + (one.lag_s or 0.0), one.at_s + (one.latency_s or 0.0)
    return not start_s - CLOCKS_S <= began_s <= end_s + CLOCKS_S
