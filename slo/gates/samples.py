"""Were there enough samples, and do the intervals decide? Names every objective that stays open."""

from __future__ import annotations

from collections.abc import Sequence

from slo.judging import Judged
from slo.verdict import Gate

_SHOWN = 3


def check(judged: Sequence[Judged]) -> Gate:
    """Pass when every judged objective was decided, and there was one at all."""
    open_ones = [one for one in judged if one.reason != "decided"]
    facts = {
        "judged": len(judged),
        "open": [
            {
                "objective": one.record.name,
                "phase": one.record.phase,
                "reason": one.reason,
                "samples": one.record.samples,
                "more_s": one.more_s,
            }
            for one in open_ones
        ],
    }
    if not judged:
        return Gate(
            name="samples", verdict="inconclusive", message="no objective holds in this run", facts=facts
        )
    if open_ones:
        named = "; ".join(
            f"{one.record.name} in {one.record.phase}: {one.record.message}" for one in open_ones[:_SHOWN]
        )
        rest = f" (and {len(open_ones) - _SHOWN} more)" if len(open_ones) > _SHOWN else ""
        return Gate(name="samples", verdict="inconclusive", message=named + rest, facts=facts)
    return Gate(
        name="samples", verdict="pass", message=f"all {len(judged)} judgements could be made", facts=facts
    )
