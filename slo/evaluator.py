"""From a bundle to its verdict.

Pure: nothing but the bundle is read, nothing is written, every random number is seeded by what it is
for. So the same bundle gives the same bytes, on any machine, whenever it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slo import assertions, gates, objectives, sentences, summary, verdict
from slo.bundle import Bundle
from slo.documents import DocumentError
from slo.evidence import Evidence, read_evidence
from slo.gates.bite import bites_of
from slo.judging import Judged, judge
from slo.objectives import Objectives
from slo.plan import Plan
from slo.segments import default_table
from slo.verdict import EXIT_CODES, Verdict, Verdicts

SHOULD_MOVE = "breaker_opens"
"""The assertion that a fault sets something going; where none bit, the service has done nothing wrong."""


def evaluate(bundle: Bundle | Path | str) -> Verdict:
    """Judge a bundle, finished or killed. Raises BundleError when the folder is not a bundle."""
    source = Bundle.at(bundle)
    wanted = _objectives(source)
    evidence = read_evidence(source, wanted.table if wanted else default_table())
    judged = [
        one for objective in (wanted.objectives if wanted else ()) for one in judge(objective, evidence)
    ]
    bites = bites_of(evidence)
    asserted = tuple(_check(raw, evidence, bites) for raw in _raw_assertions(evidence))
    gated = gates.check_all(evidence, judged, asserted, bites, wanted.objectives if wanted else ())
    overall = _overall(evidence.plan, gated, judged, asserted)
    unspoken = Verdict(
        verdict=overall,
        exit_code=EXIT_CODES[overall],
        run=_run(evidence.plan),
        phases=summary.phases(evidence),
        faults=summary.faults(evidence, bites),
        gates=gated,
        objectives=tuple(one.record for one in judged),
        assertions=asserted,
        segments=summary.segments(evidence),
        outcomes=summary.outcomes(evidence),
        breakers=summary.breakers(evidence),
        recovery=summary.recovery(evidence),
        environment=_environment(evidence.stack),
    )
    return unspoken.model_copy(update={"sentences": sentences.about(unspoken, evidence.plan)})


def _objectives(source: Bundle) -> Objectives | None:
    """None when a crash left no readable objectives: then nothing can be judged, and the gates say so."""
    try:
        return objectives.load(source.objectives)
    except DocumentError:
        return None


def _raw_assertions(evidence: Evidence) -> Sequence[Any]:
    raw = evidence.experiment.get("assertions")
    return raw if isinstance(raw, list) else ()


def _check(raw: Any, evidence: Evidence, bites: Mapping[str, verdict.Bite]) -> verdict.Assertion:
    try:
        if not isinstance(raw, Mapping):
            raise ValueError(f"{raw!r} is not an assertion; write its name and its parameters")
        parsed = assertions.parse(raw)
    except ValueError as error:
        name = str(next(iter(raw), "assertion")) if isinstance(raw, Mapping) else str(raw)
        return verdict.Assertion(name=name, verdict="inconclusive", message=f"cannot be read: {error}")
    if evidence.plan.t0_s is None or not evidence.plan.phases:
        return parsed.result("inconclusive", "the load never started")
    found = parsed.check(evidence)
    if found.name == SHOULD_MOVE and found.verdict == "fail" and (why := _toothless(found, evidence, bites)):
        nothing_broke = {"verdict": "inconclusive", "exemplars": (), "trace": None}
        return found.model_copy(update=nothing_broke | {"message": f"{found.message}; {why}"})
    return found


def _toothless(asserted: verdict.Assertion, evidence: Evidence, bites: Mapping[str, verdict.Bite]) -> str:
    """Which faults should have opened a breaker and did not bite; empty when one of them did."""
    breaker = asserted.parameters.get("breaker")
    own = [fault.name for fault in evidence.plan.faults if fault.on == breaker] or list(bites)
    if not own or any(bites[name].verdict == "pass" for name in own):
        return ""
    return f"but {' and '.join(own)} did not bite, so nothing should have opened it"


def _overall(
    plan: Plan,
    gated: Sequence[verdict.Gate],
    judged: Sequence[Judged],
    asserted: Sequence[verdict.Assertion],
) -> Verdicts:
    """The precedence of docs/design/0001, section 5."""
    passed: dict[str, bool] = {gate.name: gate.verdict == "pass" for gate in gated}
    verdicts = [one.record.verdict for one in judged] + [one.verdict for one in asserted]
    if plan.status == "error":
        return "error"
    if plan.status == "interrupted" or not all(passed[name] for name in gates.FIRST):
        return "inconclusive"
    if "fail" in verdicts or plan.stops:
        return "fail"
    if not all(passed.values()) or "inconclusive" in verdicts:
        return "inconclusive"
    return "warn" if "warn" in verdicts else "pass"


def _run(plan: Plan) -> verdict.Run:
    facts = plan.run
    return verdict.Run(
        id=facts.get("run_id"),
        experiment=facts.get("experiment"),
        title=facts.get("title"),
        hypothesis=facts.get("hypothesis"),
        owner=facts.get("owner"),
        incidents=tuple(facts.get("incidents") or ()),
        started_at_s=plan.started_at_s,
        t0_s=plan.t0_s,
        status=plan.status,
        overrides=tuple(str(one) for one in facts.get("overrides") or ()),
        seed=facts.get("seed"),
    )


def _environment(stack: Mapping[str, Any]) -> dict[str, Any]:
    told = ("kind", "target", "proxy", "requests_proxy", "model_server", "versions", "machine")
    return {key: stack[key] for key in told if stack.get(key) is not None}
