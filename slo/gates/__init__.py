"""The conditions without which a run cannot pass (design, section 7), each a module of this package.

`load` and `evidence` come before everything else: when they fail, nothing that was measured can be
believed, not even a failure.
"""

from __future__ import annotations

from collections.abc import Sequence

from slo import verdict
from slo.evidence import Evidence
from slo.gates import bite, evidence_complete, finished, load, proved, samples
from slo.judging import Judged
from slo.objectives import Objective

FIRST = ("load", "evidence")


def check_all(
    evidence: Evidence,
    judged: Sequence[Judged],
    asserted: Sequence[verdict.Assertion],
    bites: dict[str, verdict.Bite],
    objectives: Sequence[Objective],
) -> tuple[verdict.Gate, ...]:
    """Every gate, in the order in which a reader should care."""
    return (
        load.check(evidence),
        evidence_complete.check(evidence),
        bite.check(evidence, bites),
        samples.check(judged),
        proved.check(evidence, asserted, objectives, judged),
        finished.check(evidence.plan),
    )
