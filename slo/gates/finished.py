"""Did the run get to its end?"""

from __future__ import annotations

from slo.plan import Plan
from slo.verdict import Gate

_HOW_IT_ENDED = {
    "stopped": "a stop condition ended the run early",
    "interrupted": "a person ended the run early",
    "error": "the harness failed",
}


def check(plan: Plan) -> Gate:
    """Pass when the journal says `completed`."""
    facts = {"status": plan.status}
    if plan.status == "completed":
        return Gate(name="finished", verdict="pass", message="the run went to its end", facts=facts)
    how = _HOW_IT_ENDED.get(plan.status or "", "the journal ends before the run does: its runner was killed")
    message = f"{how}: {plan.message}" if plan.message else how
    return Gate(
        name="finished",
        verdict="error" if plan.status == "error" else "inconclusive",
        message=message,
        facts=facts,
    )
